import { parse, Template, tokenize } from "@huggingface/jinja";

/** Characters [start, end) of a text. */
export interface Span {
  start: number;
  end: number;
}

const generationTag = /\{%(-?)\s*(end)?generation\s*(-?)%\}/g;

/** Wraps what a `generation` block renders in two characters that the conversation does not contain. */
const generationMacro = "{% macro __generation() %}{{ __start }}{{ caller() }}{{ __end }}{% endmacro %}";

/**
 * A chat template in Jinja. It renders as transformers' `apply_chat_template` does, whose dialect has blocks that mark
 * what the model generates: `{% generation %}…{% endgeneration %}`.
 */
export class ChatTemplate {
  /** Whether the template has `generation` blocks. */
  readonly marksGeneration: boolean;
  readonly #template: Template;

  /** @throws Error for a template that is not valid Jinja */
  constructor(source: string) {
    // The library drops the tags of `generation` blocks, so each becomes a call block.
    const calls = source
      .replace(/\r\n?/g, "\n")
      .replace(
        generationTag,
        (_, left: string, end: string | undefined, right: string) =>
          `{%${left} ${end ? "endcall" : "call __generation()"} ${right}%}`,
      );
    this.marksGeneration = source.search(generationTag) >= 0;
    this.#template = new Template(calls);
    if (this.marksGeneration) this.#template.parsed.body.unshift(...parse(tokenize(generationMacro)).body);
    followPython(this.#template.parsed);
  }

  /**
   * Renders the template.
   * @returns `text`, and in `generated` the ranges of it that the template marks, in order
   * @throws Error from the template, which may refuse the conversation
   */
  render(variables: Readonly<Record<string, unknown>>): { text: string; generated: Span[] } {
    if (!this.marksGeneration)
      return { text: this.#template.render({ ...pythonFunctions, ...variables }), generated: [] };
    const [start, end] = unusedCharacters(JSON.stringify(variables));
    const marked = this.#template.render({ ...pythonFunctions, ...variables, __start: start, __end: end });
    const generated: Span[] = [];
    let text = "";
    for (const part of marked.split(new RegExp(`(?=[${start}${end}])`, "u"))) {
      if (part.startsWith(start)) generated.push({ start: text.length, end: text.length });
      const open = generated.at(-1);
      if (part.startsWith(end) && open) open.end = text.length;
      text += part.startsWith(start) || part.startsWith(end) ? part.slice(start.length) : part;
    }
    return { text, generated: generated.filter(({ start, end }) => start < end) };
  }
}

/** Finds two characters for private use that a text does not contain. */
function unusedCharacters(text: string): [string, string] {
  const unused: string[] = [];
  for (let code = 0xf0000; unused.length < 2; code++) {
    const character = String.fromCodePoint(code);
    if (!text.includes(character)) unused.push(character);
  }
  return unused as [string, string];
}

// Python's white space: JavaScript's `trim` leaves some of it, and removes U+FEFF.
const whiteSpace = "\\s\\x1c-\\x1f\\x85";

/** Removes `characters`, white space by default, from the ends of a text, as Python's `str.strip` does. */
function strip(value: unknown, characters: unknown, sides: "both" | "left" | "right"): string {
  const text = String(value ?? "");
  const set =
    typeof characters === "string"
      ? [...characters].map((character) => character.replace(/[\\\]^-]/g, "\\$&")).join("")
      : whiteSpace;
  if (!set) return text;
  const character = set === whiteSpace ? `(?!\\ufeff)[${set}]` : `[${set}]`;
  const left = sides === "right" ? text : text.replace(new RegExp(`^(?:${character})+`, "u"), "");
  return sides === "left" ? left : left.replace(new RegExp(`(?:${character})+$`, "u"), "");
}

const pythonFunctions = {
  __characters: (text: string) => [...text],
  __strip: (text: unknown, characters?: unknown) => strip(text, characters, "both"),
  __lstrip: (text: unknown, characters?: unknown) => strip(text, characters, "left"),
  __rstrip: (text: unknown, characters?: unknown) => strip(text, characters, "right"),
};

interface Node {
  type?: string;
  value?: unknown;
  callee?: Node;
  args?: Node[];
  object?: Node;
  property?: Node;
  operand?: Node;
  filter?: Node;
  iterable?: Node;
  lhs?: Node;
}

/** What Jinja loops over in place of `__x`. */
const iterated = "{{ [] if __x is undefined else (__characters(__x) if __x is string else __x) }}";

/**
 * Makes a parsed template do what Jinja does where the library differs. The library ignores the argument of `strip`, so
 * that `lstrip("\n")` removes spaces too: these methods and the filter `trim` become calls of `pythonFunctions`. It refuses
 * loops over what is undefined, which are empty, and over text, which are over its characters.
 */
function followPython(node: unknown): void {
  if (node instanceof Map) for (const child of [...node].flat()) followPython(child);
  if (typeof node !== "object" || node === null) return;
  for (const child of Object.values(node)) followPython(child);
  const { type, callee, args = [], operand, filter, iterable } = node as Node;
  const replace = (name: string, values: readonly (Node | undefined)[]) =>
    Object.assign(node, {
      type: "CallExpression",
      callee: { type: "Identifier", value: name },
      args: values,
    });
  const method = callee?.type === "MemberExpression" ? `__${callee.property?.value}` : "";
  if (type === "CallExpression" && method in pythonFunctions) replace(method, [callee?.object, ...args]);
  else if (type === "FilterExpression" && filter?.type === "Identifier" && filter.value === "trim")
    replace("__strip", [operand]);
  else if (type === "For" && iterable?.type === "SelectExpression")
    Object.assign(iterable, { lhs: iterate(iterable.lhs) });
  else if (type === "For") Object.assign(node, { iterable: iterate(iterable) });
}

/** Wraps what a loop iterates over: see `iterated`. */
function iterate(expression: unknown): unknown {
  const substitute = (node: unknown): unknown => {
    if (typeof node !== "object" || node === null) return node;
    if ((node as Node).type === "Identifier" && (node as Node).value === "__x") return expression;
    for (const [key, child] of Object.entries(node)) Object.assign(node, { [key]: substitute(child) });
    return node;
  };
  return substitute(parse(tokenize(iterated)).body[0]);
}
