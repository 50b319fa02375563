import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import { scoreAll } from "../batch/score.ts";
import { openReward } from "../rewards/open.ts";
import { averageMembers, Ensemble, openEnsemble } from "./ensemble.ts";
import type { Model } from "./model.ts";

const dir = mkdtempSync(join(tmpdir(), "ensemble-"));
const rewardModel = (seed: number, config = {}) => tinyModel(seed, config).withScoreHead({ std: 1, seed });
const members = [0, 1, 2].map((seed) => rewardModel(seed));
const folder = join(dir, "ensemble");
const rows = [
  { promptTokens: [1, 2], tokens: [3, 4] },
  { promptTokens: [5], tokens: [6, 7, 8] },
];
const answers = ["a", "bcd"].map((text) => ({ prompt: [{ role: "user" as const, content: "?" }], text }));

beforeAll(() => new Ensemble(members, { combine: "worst" }).save(folder));

describe("an ensemble", () => {
  it("is opened with the members and the way of combining that it was saved with", () => {
    const opened = openEnsemble(folder, { dtype: "float32" }) as Ensemble;
    expect(opened.combination).toEqual({ combine: "worst", penalty: 0.1 });
    // libtorch's products may differ in the last bit with the alignment of the weights.
    for (const [i, member] of opened.members.entries())
      for (const [row, score] of scoreAll(members[i] as Model, rows).entries())
        expect(scoreAll(member, rows)[row]).toBeCloseTo(score, 5);
    opened.dispose();
  });

  it("is a reward: the worst member's score, or as a setting says, and its disagreement", async () => {
    const byMember = await Promise.all(
      members.map(async (member) =>
        (await (await openReward(member)).score(answers)).map(({ score }) => score),
      ),
    );
    const worst = await openReward(folder, { dtype: "float32" });
    const mean = await openReward({ model: folder, combine: "mean" }, { dtype: "float32" });
    const [worstScores, meanScores] = [await worst.score(answers), await mean.score(answers)];
    answers.forEach((_, i) => {
      const all = byMember.map((scores) => scores[i] as number);
      const average = (all[0] as number) / 3 + (all[1] as number) / 3 + (all[2] as number) / 3;
      expect(worstScores[i]?.score).toBeCloseTo(Math.min(...all), 5);
      expect(meanScores[i]?.score).toBeCloseTo(average, 5);
      expect((meanScores[i]?.disagreement as number) ** 2).toBeCloseTo(
        all.reduce((sum, score) => sum + (score - average) ** 2, 0) / 3,
        4,
      );
    });
    for (const scorer of [worst, mean]) scorer.dispose();
  });

  it("averages its members' weights into one model, as transformers would read it", () => {
    const average = averageMembers(folder);
    for (const [name, weight] of average.parameters) {
      const values = members.map((member) => member.parameters.get(name)?.toArray() as number[]);
      // Sums of three float32 numbers, which may round once each.
      weight.toArray().forEach((value, i) => {
        const expected = values.reduce((sum, of) => sum + (of[i] as number), 0) / 3;
        expect(Math.abs(value - expected)).toBeLessThan(2e-7 * (1 + Math.abs(expected)));
      });
    }
    average.dispose();
  });

  it("refuses members that are not reward models, or of different vocabularies", () => {
    expect(() => new Ensemble([rewardModel(0), tinyModel(1)])).toThrow(/member 2 has no scalar head/);
    expect(() => new Ensemble([rewardModel(0), rewardModel(1, { vocab_size: 300 })])).toThrow(
      /vocabulary of member 2 \(300 tokens\) is not that of member 1 \(261 tokens\)/,
    );
  });

  it.each([
    ["{", /not JSON/],
    ['{"members": ["a"]}', /members/],
    ['{"members": ["a", "b"], "combnie": "mean"}', /did you mean "combine"/],
    ['{"members": ["a", "b"]}', /no such file or folder/],
  ])("with a damaged description is an error that names the file: %s", (text, message) => {
    const damaged = join(dir, String(text.length));
    mkdirSync(damaged, { recursive: true });
    writeFileSync(join(damaged, "ensemble.json"), text);
    expect(() => openEnsemble(damaged)).toThrow(message);
    expect(() => openEnsemble(damaged)).toThrow(damaged);
  });

  it("refuses a way of combining for one reward model", async () => {
    const one = join(dir, "one");
    members[0]?.save(one);
    await expect(openReward({ model: one, combine: "worst" })).rejects.toThrow(/one reward model/);
  });
});
