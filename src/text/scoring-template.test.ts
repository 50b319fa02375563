import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { goldenPath } from "../../test/golden.ts";
import { conversations, tokenizerFor } from "../../test/templates.ts";
import { encodeAnswer, renderChat } from "./chat.ts";
import { scoringTemplate } from "./scoring-template.ts";
import { Tokenizer } from "./tokenizer.ts";

const folder = goldenPath("templates");
const sources: [string, string][] = [
  ...readdirSync(folder).map((file): [string, string] => [file, readFileSync(join(folder, file), "utf8")]),
  ["no end token", "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"],
];
const tiny = fileURLToPath(new URL("../../test/fixtures/runs/tiny", import.meta.url));

/** Conversations of text that end with an answer. */
const answered = conversations().filter(
  ({ messages, tools }) =>
    !tools &&
    messages.every(({ role, content }) => role !== "tool" && typeof content === "string") &&
    messages.at(-1)?.role === "assistant" &&
    Object.keys(messages.at(-1) ?? {}).length === 2,
);

describe.each(sources)("the chat template %s for a reward model", (_, source) => {
  const files = tokenizerFor(tiny, [source]);
  const tokenizer = new Tokenizer(files, { default: source });
  const template = scoringTemplate(tokenizer) as string;
  const saved = new Tokenizer(files, { default: template });

  it("writes conversations up to the token where the score is read", () => {
    let accepted = 0;
    for (const { messages } of answered) {
      const prompt = messages.slice(0, -1);
      const { content } = messages.at(-1) as { content: string };
      let expected: number[];
      try {
        const { promptTokens, tokens } = encodeAnswer(tokenizer, prompt, content);
        expected = [...promptTokens, ...tokens];
      } catch {
        continue; // a template that has no system role
      }
      accepted++;
      expect(saved.encode(renderChat(saved, messages))).toEqual(expected);
      const { promptTokens, tokens } = encodeAnswer(saved, prompt, content);
      expect([...promptTokens, ...tokens]).toEqual(expected);
      const start = { generationPrompt: true };
      expect(renderChat(saved, prompt, start)).toBe(renderChat(tokenizer, prompt, start));
    }
    expect(accepted).toBeGreaterThan(1);
  });

  it("is not changed again", () => {
    expect(scoringTemplate(saved)).toBe(template);
  });
});
