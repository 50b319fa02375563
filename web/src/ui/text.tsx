import { diffWordsWithSpace } from "diff";
import { memo } from "react";
import Markdown, { type Components } from "react-markdown";
import rehypeHighlight from "rehype-highlight";
import remarkGfm from "remark-gfm";
import type { Assignment } from "./api.ts";

// Texts are untrusted: they come from models and strangers. Markdown is rendered to React elements and HTML in it is not
// interpreted. Nothing is loaded from other sites, so images are shown as their address.
const components: Components = {
  a: ({ href, children }) => (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  ),
  img: ({ alt, src }) => (
    <span className="picture">
      [picture: {alt || "no description"}, {String(src)}]
    </span>
  ),
  // Headings within a text would break the heading structure of the page.
  ...Object.fromEntries(
    ["h1", "h2", "h3", "h4", "h5", "h6"].map((level) => [
      level,
      ({ children }: { children?: React.ReactNode }) => <p className="heading">{children}</p>,
    ]),
  ),
  table: ({ children }) => (
    <div className="scroll" tabIndex={0}>
      <table>{children}</table>
    </div>
  ),
  pre: ({ children }) => <pre tabIndex={0}>{children}</pre>,
};

/** Shows a text as Markdown. @param plain shows it unformatted */
export const Text = memo(function Text({ text, plain = false }: { text: string; plain?: boolean }) {
  return (
    <div className="text" dir="auto">
      {plain ? (
        <div className="plain">{text}</div>
      ) : (
        <Markdown remarkPlugins={[remarkGfm]} rehypePlugins={[rehypeHighlight]} components={components}>
          {text}
        </Markdown>
      )}
    </div>
  );
});

const names = {
  user: "User",
  assistant: "Assistant",
  system: "System",
  tool: "Tool",
  developer: "Developer",
};

/** Shows a conversation. All turns but the last three are collapsed. */
export function Prompt({
  messages,
  plain = false,
  ref,
}: {
  messages: Assignment["messages"];
  plain?: boolean;
  ref?: React.Ref<HTMLElement>;
}) {
  return (
    <section aria-label="Prompt" className="prompt" ref={ref} tabIndex={-1}>
      {messages.map(({ role, content, tool_calls: calls }, i) => (
        <details key={i} className={`turn ${role}`} open={i >= messages.length - 3}>
          <summary>{names[role]}</summary>
          <Text text={content || (calls ? JSON.stringify(calls, null, 1) : "")} plain={plain} />
        </details>
      ))}
    </section>
  );
}

/** Shows a text with the words highlighted that another text does not have. */
export function Difference({ text, from }: { text: string; from: string }) {
  // The diff takes quadratic time in the worst case.
  const parts = diffWordsWithSpace(from, text, { timeout: 500 });
  return (
    <div className="text plain" dir="auto">
      {parts
        ? parts
            .filter(({ removed }) => !removed)
            .map(({ value, added }, i) => (added ? <ins key={i}>{value}</ins> : <span key={i}>{value}</span>))
        : text}
    </div>
  );
}
