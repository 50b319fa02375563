import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../data/errors.ts";
import { readJsonl, writeAtomic, writeJsonl } from "../data/jsonl.ts";
import { readPrompts } from "../data/readers.ts";
import type { Prompt } from "../data/records.ts";
import { splitByPrompt } from "../data/split.ts";
import { minClusters } from "../statistics/bootstrap.ts";
import type { LoopConfig } from "./config.ts";
import { checkSameRecipe, emptyState, type LoopState, parseState } from "./state.ts";

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
 * Reads the state of a loop, or begins one.
 * @throws InputError if the directory has something else in it, or a loop of another recipe
 */
export function openState(run: string, written: Record<string, unknown>): LoopState {
  const path = files(run).state;
  if (existsSync(path)) {
    const state = parseState(readFileSync(path, "utf8"), path);
    // Through JSON, as the stored recipe.
    checkSameRecipe(state, JSON.parse(JSON.stringify(written)), run);
    return state;
  }
  const present = readdirSync(run).filter((name) => !name.startsWith("lock") && !name.includes(".tmp-"));
  if (present.length)
    throw new InputError(
      `${run}: the directory is not empty and has no loop in it (loop.json); use another name`,
    );
  const state = emptyState(written);
  writeJson(path, state);
  return state;
}

/**
 * Writes the prompts to learn from and those held out, unless they are there. A loop goes on with them even if the
 * recipe's file changes.
 * @throws InputError for too few held-out prompts, of which nothing could be concluded
 */
export async function writePrompts(run: string, config: LoopConfig): Promise<void> {
  const { prompts: path, heldOut: heldOutPath } = files(run);
  if (existsSync(path)) return;
  const { records } = await readPrompts(config.prompts, config.columns);
  const { evaluation } = config;
  const { train, heldOut } =
    evaluation.prompts === undefined
      ? splitByPrompt(records, evaluation.heldOut, config.seed)
      : { train: records, heldOut: (await readPrompts(evaluation.prompts, config.columns)).records };
  if (heldOut.length < minClusters)
    throw new InputError(
      `loop: ${heldOut.length} held-out prompts, and an interval needs ${minClusters} at least: give more prompts, a larger evaluation.heldOut or a file as evaluation.prompts`,
    );
  writeJsonl(heldOutPath, heldOut.map(toRow));
  writeJsonl(path, train.map(toRow)); // last: with it both are complete
}

const toRow = ({ prompt, id, metadata }: Prompt) => ({
  ...metadata,
  ...(id !== undefined && { id }),
  prompt,
});

/** Reads prompts that `writePrompts` wrote. */
export const readWrittenPrompts = async (path: string): Promise<Prompt[]> =>
  (await readPrompts(path)).records;

/** Makes the directory of a round. */
export const makeRound = (run: string, round: number): void => {
  mkdirSync(join(run, `round-${round}`), { recursive: true });
};
