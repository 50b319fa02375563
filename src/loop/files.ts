import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { InputError } from "../data/errors.ts";
import { readJsonl, writeAtomic, writeJsonl } from "../data/jsonl.ts";
import { readPrompts } from "../data/readers.ts";
import type { Prompt } from "../data/records.ts";
import { splitByPrompt } from "../data/split.ts";
import { minClusters } from "../statistics/bootstrap.ts";
import type { LoopConfig, LoopRecipe } from "./config.ts";
import { emptyState, type LoopState, parseState, withRecipe } from "./state.ts";

/** Paths in the directory of a loop. */
export const files = (run: string) => {
  const inRound = (name: string) => (round: number) => join(run, `round-${round}`, name);
  return {
    state: join(run, "loop.json"),
    lock: join(run, "lock"),
    prompts: join(run, "prompts.jsonl"),
    heldOut: join(run, "held-out.jsonl"),
    answers: inRound("answers.jsonl"),
    comparisons: inRound("comparisons.jsonl"),
    comparisonsBy: (round: number, kind: string) => inRound(`comparisons.${kind}.jsonl`)(round),
    /** Comparisons of this round and those before. */
    training: inRound("training.jsonl"),
    rewardModel: inRound("reward"),
    policy: inRound("policy"),
    heldOutAnswers: inRound("held-out-answers.json"),
    evaluation: inRound("evaluation.json"),
  };
};

/** Reads the rows of a JSON Lines file; none of a file without any. */
export const readRecords = <T>(path: string): T[] =>
  readFileSync(path).length ? readJsonl(path).map(({ value }) => value as T) : [];

export const readJson = <T>(path: string): T => JSON.parse(readFileSync(path, "utf8"));
export const writeJson = (path: string, value: unknown): void =>
  writeAtomic(path, (write) => write(`${JSON.stringify(value, null, 2)}\n`));

/**
 * Reads the state of a loop, or begins one: with copies of its prompts, to learn from and held out, with which it goes on
 * even if the recipe's file changes. Until its first step is done it has nothing to lose, and begins anew.
 * @throws InputError if the directory has something else in it or a loop of another recipe, or for too few held-out
 * prompts, of which nothing could be concluded
 */
export async function openState(run: string, { config, written }: LoopRecipe): Promise<LoopState> {
  const { state: path, prompts, heldOut } = files(run);
  const before = existsSync(path) ? parseState(readFileSync(path, "utf8"), path) : undefined;
  // Through JSON, as the stored recipe.
  const recipe = JSON.parse(JSON.stringify(written));
  if (before?.rounds.length) return withRecipe(before, recipe, run);
  const left = [path, prompts, heldOut].map((file) => basename(file));
  const others = readdirSync(run).filter(
    (name) => !left.some((file) => name.startsWith(file)) && !name.startsWith("lock") && name !== "round-1",
  );
  if (others.length)
    throw new InputError(
      `${run}: the directory is not empty and has no loop in it (loop.json); use another name`,
    );
  const split = await readSplit(config);
  if (split.heldOut.length < minClusters)
    throw new InputError(
      `loop: ${split.heldOut.length} held-out prompts, and an interval needs ${minClusters} at least: give more prompts, a larger evaluation.heldOut or a file as evaluation.prompts`,
    );
  writeJsonl(heldOut, split.heldOut.map(toRow));
  writeJsonl(prompts, split.train.map(toRow));
  const state = emptyState(randomUUID(), recipe);
  writeJson(path, state);
  return state;
}

/** Reads the prompts to learn from and those held out. */
async function readSplit({ prompts, columns, evaluation, seed }: LoopConfig) {
  const { records } = await readPrompts(prompts, columns);
  if (evaluation.prompts === undefined) return splitByPrompt(records, evaluation.heldOut, seed);
  return { train: records, heldOut: (await readPrompts(evaluation.prompts, columns)).records };
}

const toRow = ({ prompt, id, metadata }: Prompt) => ({
  ...metadata,
  ...(id !== undefined && { id }),
  prompt,
});

/** Reads prompts that `openState` wrote. */
export const readWrittenPrompts = async (path: string): Promise<Prompt[]> =>
  (await readPrompts(path)).records;

/** Makes the directory of a round. */
export const makeRound = (run: string, round: number): void => {
  mkdirSync(join(run, `round-${round}`), { recursive: true });
};
