import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { openReward } from "../open.ts";
import { checks } from "./checks.ts";
import { parseInstructions, verdictsOn } from "./instructions.ts";

interface Case {
  id: string;
  kwargs: Record<string, unknown>;
  response: string;
  strict: boolean;
  loose: boolean;
}

// Verdicts of the authors' program: test/golden/make_ifeval.py.
const cases = JSON.parse(
  readFileSync(new URL("../../../test/golden/ifeval.json", import.meta.url), "utf8"),
) as Case[];

describe("the checks of IFEval", () => {
  it.each(Object.keys(checks))("%s has the authors' verdicts", (id) => {
    const ofCheck = cases.filter((row) => row.id === id);
    expect(new Set(ofCheck.map(({ strict }) => strict))).toEqual(new Set([true, false]));
    for (const { kwargs, response, strict, loose } of ofCheck) {
      const instructions = parseInstructions({ instruction_id_list: [id], kwargs: [kwargs] }, "test");
      expect(verdictsOn(response, instructions), JSON.stringify({ id, kwargs, response })).toEqual({
        strict: [strict],
        loose: [loose],
      });
    }
  });

  it("refuse unknown instructions and wrong arguments", () => {
    const parse = (id: string, args: object) => () =>
      parseInstructions({ instruction_id_list: [id], kwargs: [args] }, "file:3");
    expect(parse("punctuation:no_commas", {})).toThrow(
      'file:3: unknown instruction "punctuation:no_commas" (did you mean "punctuation:no_comma"?)',
    );
    expect(parse("length_constraints:number_words", { num_words: "many", relation: "at least" })).toThrow(
      /file:3: kwargs of length_constraints:number_words: num_words: .*number/,
    );
    expect(() => parseInstructions({ instruction_id_list: ["a", "b"], kwargs: [] }, "file:3")).toThrow(
      "file:3: instruction_id_list has 2 entries, and kwargs 0",
    );
  });
});

describe("the reward of instructions", () => {
  const metadata = {
    instruction_id_list: ["punctuation:no_comma", "startend:quotation"],
    kwargs: [{}, {}],
  };
  const answers = ['"Both of them"', '"One, of them"', "None, of them"].map((text) => ({
    prompt: [{ role: "user" as const, content: "?" }],
    text,
    metadata,
  }));

  it("is the share that is followed, or 1 where all are", async () => {
    const score = async (measure?: "all") =>
      (await (await openReward({ instructions: measure ? { measure } : {} })).score(answers)).map(
        ({ score }) => score,
      );
    expect(await score()).toEqual([1, 0.5, 0]);
    expect(await score("all")).toEqual([1, 0, 0]);
  });

  it("says what a prompt's row should have", async () => {
    const reward = await openReward({ instructions: {} });
    await expect(reward.score([{ prompt: [], text: "x", metadata: {} }])).rejects.toThrow(
      /no instruction_id_list and kwargs/,
    );
  });
});
