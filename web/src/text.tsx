import { diffWordsWithSpace } from "diff";
import { memo } from "react";
import Markdown, { type Components } from "react-markdown";
import rehypeHighlight from "rehype-highlight";
import remarkGfm from "remark-gfm";

// Texts come from models and strangers. Markdown is made of elements, never of HTML that a text holds; nothing is
// loaded from elsewhere, so a picture is shown as its address.
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
  // Headings of a text are not the page's.
  ...Object.fromEntries(
    ["h1", "h2", "h3", "h4", "h5", "h6"].map((level) => [
      level,
      ({ children }: { children?: React.ReactNode }) => <p className="heading">{children}</p>,
    ]),
  ),
  table: ({ children }) => (
    <section className="scroll" tabIndex={0} aria-label="Table">
      <table>{children}</table>
    </section>
  ),
  pre: ({ children }) => <pre tabIndex={0}>{children}</pre>,
};

/** A text as Markdown, or as it stands. */
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

/** A text with what another one has not marked. */
export function Difference({ text, from }: { text: string; from: string }) {
  // Words of long texts take quadratic time at worst.
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
