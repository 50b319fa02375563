import { type Change, diffWordsWithSpace } from "diff";
import { memo } from "react";
import Markdown, { type Components, type Options } from "react-markdown";
import rehypeHighlight from "rehype-highlight";
import rehypeKatex from "rehype-katex";
import remarkGfm from "remark-gfm";
import remarkMath from "remark-math";
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

/** Headings of a document within a page: its h1 is below the page's. */
const headings: Components = Object.fromEntries(
  ["h1", "h2", "h3", "h4", "h5"].map((level, i) => {
    const Lower = `h${i + 2}` as "h2";
    return [level, ({ children }: { children?: React.ReactNode }) => <Lower>{children}</Lower>];
  }),
);

// A dollar sign is more often a price than mathematics, so a formula in a line is between two dollar signs on each side.
// MathML needs no fonts, and no styles that the content security policy would have to allow.
const remarkPlugins: Options["remarkPlugins"] = [remarkGfm, [remarkMath, { singleDollarTextMath: false }]];
const rehypePlugins: Options["rehypePlugins"] = [
  rehypeHighlight,
  [rehypeKatex, { output: "mathml", throwOnError: false }],
];

/**
 * Shows a text as Markdown, with code and LaTeX formulas.
 * @param props.plain shows it unformatted @param props.isDocument shows its headings as headings, as of guidelines
 */
export const Text = memo(function Text({
  text,
  plain = false,
  isDocument = false,
}: {
  text: string;
  plain?: boolean;
  isDocument?: boolean;
}) {
  return (
    <div className="text" dir="auto">
      {plain ? (
        <div className="plain">{text}</div>
      ) : (
        <Markdown
          remarkPlugins={remarkPlugins}
          rehypePlugins={rehypePlugins}
          components={isDocument ? { ...components, ...headings } : components}
        >
          {delimitMath(text)}
        </Markdown>
      )}
    </div>
  );
});

/** Replaces LaTeX's delimiters, which models write, by those of Markdown: \( … \) and \[ … \]. Code is left as it is. */
const delimitMath = (text: string): string =>
  text.replace(
    /(```[\s\S]*?(?:```|$)|`[^`\n]*`)|\\\(([\s\S]+?)\\\)|\\\[([\s\S]+?)\\\]/g,
    (whole, code?: string, inline?: string, block?: string) =>
      code !== undefined || (inline === undefined && block === undefined)
        ? whole
        : inline !== undefined
          ? `$$${inline}$$`
          : `\n$$\n${block}\n$$\n`,
  );

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
  label = "Prompt",
  plain = false,
  ref,
}: {
  messages: Assignment["messages"];
  label?: string;
  plain?: boolean;
  ref?: React.Ref<HTMLElement>;
}) {
  return (
    <section aria-label={label} className="prompt" ref={ref} tabIndex={-1}>
      {messages.map(({ role, content, tool_calls: calls }, i) => (
        <details key={i} className={`turn ${role}`} open={i >= messages.length - 3}>
          <summary>{names[role]}</summary>
          <Text text={content || (calls ? JSON.stringify(calls, null, 1) : "")} plain={plain} />
        </details>
      ))}
    </section>
  );
}

/**
 * Shows a text with the words highlighted that another text does not have. If those would be more than half of both texts,
 * nothing is highlighted: a highlight that is the rule says nothing.
 */
export const Difference = memo(function Difference({ text, from }: { text: string; from: string }) {
  // The diff takes quadratic time in the worst case.
  const parts = diffWordsWithSpace(from, text, { timeout: 500 });
  if (!parts || shareInCommon(parts) < 0.5)
    return (
      <>
        <p className="facts">
          {parts
            ? "Less than half of the two texts is in common, so no differences are highlighted."
            : "The two texts differ in too many places to compare them."}
        </p>
        <Text text={text} plain />
      </>
    );
  return (
    <div className="text plain" dir="auto">
      {parts
        .filter(({ removed }) => !removed)
        .map(({ value, added }, i) => (added ? <ins key={i}>{value}</ins> : <span key={i}>{value}</span>))}
    </div>
  );
});

/**
 * Computes the share of two texts that their diff leaves unchanged: 2 · common / (length + length), as `ratio()` of
 * Python's difflib. White space is not counted, because all texts have it in common.
 */
function shareInCommon(parts: readonly Change[]): number {
  const sizes = { common: 0, changed: 0 };
  for (const { value, added, removed } of parts)
    sizes[added || removed ? "changed" : "common"] += value.replace(/\s/g, "").length;
  const total = 2 * sizes.common + sizes.changed;
  return total ? (2 * sizes.common) / total : 1;
}
