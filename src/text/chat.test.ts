import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { goldenJson, goldenPath } from "../../test/golden.ts";
import { conversations, type Rendered, renderOurs, tokenizerFor } from "../../test/templates.ts";
import type { Message } from "../data/records.ts";
import { pullModel } from "../models/pull.ts";
import { encodeAnswer, encodeConversation, encodeExample, encodePrompt } from "./chat.ts";
import { Tokenizer, type TokenizerFiles } from "./tokenizer.ts";

// Templates written for this project, one for each trait, and what transformers makes of them: npm run check:templates --
// --fixtures. Texts, ids and masks are discrete: they have to be equal.
const sources = Object.fromEntries(
  readdirSync(goldenPath("templates"))
    .filter((name) => name.endsWith(".jinja"))
    .map((name) => [name.replace(".jinja", ""), readFileSync(join(goldenPath("templates"), name), "utf8")]),
);
const expected: Record<string, Record<string, Rendered>> = goldenJson("templates.json");

let files: TokenizerFiles;
beforeAll(async () => {
  files = tokenizerFor(await pullModel("smollm2-135m-instruct"), Object.values(sources));
});
const tokenizerOf = (trait: string) => new Tokenizer(files, { default: sources[trait] as string });
const text = (tokenizer: Tokenizer, ids: readonly number[]) => tokenizer.decode(ids, { keepSpecial: true });

const hello: Message[] = [{ role: "user", content: "Hello" }];
const two: Message[] = [
  ...hello,
  { role: "assistant", content: "Hi." },
  { role: "user", content: "Bye" },
  { role: "assistant", content: "See you." },
];

describe.each(Object.keys(sources))("the template %s", (trait) => {
  it.each(conversations().map((conversation) => [conversation.name, conversation] as const))(
    "renders as transformers does: %s",
    (name, conversation) => {
      const { learned: _, ...ours } = renderOurs(files, sources[trait] as string, conversation);
      const theirs = expected[trait]?.[name];
      if (theirs?.error !== undefined) expect(ours.error).toBeDefined();
      else expect(ours).toEqual(theirs);
    },
  );
});

describe("what is learned of a turn", () => {
  const learned = (trait: string, prompt: Message[], response: string) => {
    const tokenizer = tokenizerOf(trait);
    return text(tokenizer, encodeExample(tokenizer, prompt, response).tokens);
  };

  it("is trimmed where the template trims, and ends with the turn's end", () => {
    expect(learned("trims", hello, "  Hi. \n")).toBe("Hi.<end_of_turn>");
  });

  it("has the space that the template writes before it", () => {
    expect(learned("keeps-space", hello, "Hi.")).toBe(" Hi.<|im_end|>");
  });

  it("ends with the token that ends a turn, not with a later end of text", () => {
    expect(learned("turn-end", hello, "Hi.")).toBe("Hi.<|end|>");
  });

  it("has the empty think block", () => {
    expect(learned("think-block", hello, "Hi.")).toBe("<think>\n\n</think>\n\nHi.<|im_end|>");
  });

  it("is what the template marks", () => {
    expect(learned("generation-marks", hello, "Hi.")).toBe("Hi.<|im_end|>");
  });

  it("follows the prompt that sampling begins with", () => {
    for (const trait of Object.keys(sources)) {
      const tokenizer = tokenizerOf(trait);
      const { promptTokens } = encodeExample(tokenizer, hello, "Hi.");
      expect(promptTokens).toEqual(encodePrompt(tokenizer, hello));
    }
  });

  it("ends with the end token where the template writes none", () => {
    const tokenizer = new Tokenizer(files, {
      default: "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
    });
    const { tokens } = encodeExample(tokenizer, hello, "Hi.");
    expect(tokens.at(-1)).toBe(tokenizer.eos);
    expect(text(tokenizer, tokens)).toContain("Hi.");
  });

  it("may be nothing but the end, for an answer to be scored", () => {
    const tokenizer = tokenizerOf("think-block");
    expect(text(tokenizer, encodeAnswer(tokenizer, hello, "").tokens)).toBe(
      "<think>\n\n</think>\n\n<|im_end|>",
    );
    expect(() => encodeExample(tokenizer, hello, "")).toThrow("the response is empty");
  });
});

describe("a conversation of several turns", () => {
  const learnedOf = (trait: string, turns: "all" | "last") => {
    const tokenizer = tokenizerOf(trait);
    return encodeConversation(tokenizer, two, { turns }).map(({ promptTokens, tokens, mask }) => ({
      whole: text(tokenizer, [...promptTokens, ...tokens]),
      learned: text(
        tokenizer,
        tokens.filter((_, i) => mask?.[i] !== 0),
      ),
    }));
  };

  it.each(["trims", "turn-end", "generation-marks"])("is one row that learns every turn: %s", (trait) => {
    const [row, ...others] = learnedOf(trait, "all");
    const [last] = learnedOf(trait, "last");
    expect(others).toEqual([]);
    expect(row?.learned).toMatch(/^Hi\.<.*>See you\.<.*>$/);
    expect(row?.learned).not.toContain("Bye");
    expect(row?.whole).toBe(last?.whole);
    expect(last?.learned).toMatch(/^See you\.<[^>]*>$/);
  });

  it("is a row for each turn that the template later writes in another way", () => {
    expect(learnedOf("think-block", "all").map(({ learned }) => learned)).toEqual([
      "<think>\n\n</think>\n\nHi.<|im_end|>",
      "<think>\n\n</think>\n\nSee you.<|im_end|>",
    ]);
  });
});

describe("chat templates of a model", () => {
  const named = [
    { name: "default", template: "default {{ messages[0].content }}" },
    { name: "tool_use", template: "tools {{ messages[0].content }}" },
  ];
  const withTemplates = (chat_template: unknown) =>
    new Tokenizer({ ...files, config: { ...files.config, chat_template } });

  it("may be a list with names, of which tools choose", () => {
    const tokenizer = withTemplates(named);
    expect(text(tokenizer, encodePrompt(tokenizer, hello))).toBe("default Hello");
    expect(text(tokenizer, encodePrompt(tokenizer, hello, { tools: [{ name: "f" }] }))).toBe("tools Hello");
  });

  it("are refused where none is the default, or one is damaged", () => {
    expect(() => encodePrompt(withTemplates([named[1]]), hello)).toThrow(
      /named tool_use.*none named "default"/,
    );
    expect(() => withTemplates(7)).toThrow("chat_template: expected a string, or a list");
    expect(() => encodePrompt(withTemplates("{% if %}"), hello)).toThrow("not valid Jinja");
  });

  it("are the plain one for a model that has none, which can be added to it", () => {
    const without = withTemplates(null);
    expect(without.hasChatTemplate).toBe(false);
    const plain = without.withChatTemplate();
    expect(plain.hasChatTemplate).toBe(true);
    expect(encodePrompt(plain, two)).toEqual(encodePrompt(without, two));
  });
});

describe("tokens that end a response", () => {
  it("are those of generation_config.json, and the one that the template ends a turn with", () => {
    const templates = { default: sources["turn-end"] as string };
    const tokenizer = new Tokenizer({ ...files, generation: { eos_token_id: [5, 6] } }, templates);
    const end = tokenizer.id("<|end|>");
    expect(tokenizer.stopIds).toEqual(expect.arrayContaining([5, 6, tokenizer.eos, end]));
    expect(tokenizerOf("trims").stopIds).not.toContain(end);
  });
});
