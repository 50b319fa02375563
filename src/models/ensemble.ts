import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { parseConfig } from "../run/config.ts";
import { checkpointOfRun } from "../run/run.ts";
import { type DType, noGrad, scope, type Tensor } from "../tensor/index.ts";
import { combine, penalty } from "./ensemble-config.ts";
import type { Model } from "./model.ts";
import { openModel } from "./open.ts";

const file = "ensemble.json";

const ensembleFile = z.strictObject({
  /** Folders or runs of reward models, relative to the ensemble's folder. */
  members: z.array(z.string().min(1)).min(2),
  combine: combine.default("mean"),
  penalty: penalty.default(0.1),
});

/** How an ensemble scores: see `combineScores`. */
export type Combination = Omit<z.infer<typeof ensembleFile>, "members">;

/** Reward models that score together. They read the same vocabulary. */
export class Ensemble {
  readonly members: readonly Model[];
  readonly combination: Combination;

  /** @throws InputError for a member without a scalar head, or members of different vocabularies */
  constructor(
    members: readonly Model[],
    { combine = "mean", penalty = 0.1 }: { [K in keyof Combination]?: Combination[K] | undefined } = {},
  ) {
    this.members = members;
    this.combination = { combine, penalty };
    const [first] = members as [Model];
    for (const [i, member] of members.entries()) {
      if (member.head !== "score")
        throw new InputError(`ensemble: member ${i + 1} has no scalar head: members are reward models`);
      if (!sameVocabulary(first, member))
        throw new InputError(
          `ensemble: the vocabulary of member ${i + 1} (${member.dimensions.vocab} tokens) is not that of member 1 (${first.dimensions.vocab} tokens): take members that began from the same model`,
        );
    }
  }

  /** Saves each member as a folder that transformers loads, and `ensemble.json` beside them. */
  save(folder: string): void {
    for (const [i, member] of this.members.entries()) member.save(join(folder, memberFolder(i)));
    this.describe(folder);
  }

  /** Writes `ensemble.json` into a folder that has the members. */
  describe(folder: string): void {
    const members = this.members.map((_, i) => memberFolder(i));
    writeFileSync(join(folder, file), JSON.stringify({ members, ...this.combination }, null, 2));
  }

  finishTraining(): this {
    for (const member of this.members) member.finishTraining();
    return this;
  }

  dispose(): void {
    for (const member of this.members) member.dispose();
  }
}

/** Folder of a member within an ensemble's folder. @param index from 0 */
export const memberFolder = (index: number): string => `members/${index + 1}`;

/** Whether two models read text as the same tokens. */
const sameVocabulary = (a: Model, b: Model): boolean =>
  a.dimensions.vocab === b.dimensions.vocab &&
  isDeepStrictEqual(a.tokenizer?.files.tokenizer, b.tokenizer?.files.tokenizer);

interface EnsembleFolders extends Combination {
  /** Folders of the members' models. */
  members: string[];
}

/**
 * Reads where the members of an ensemble are.
 * @param path its folder, or the run that trained it @returns undefined if there is no ensemble at `path`
 * @throws InputError when `ensemble.json` is damaged
 */
export function readEnsemble(path: string): EnsembleFolders | undefined {
  const folder = existsSync(path) ? (checkpointOfRun(path) ?? path) : path;
  const description = join(folder, file);
  if (!existsSync(description)) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(description, "utf8"));
  } catch (error) {
    throw new InputError(`${description}: not JSON: ${(error as Error).message}`);
  }
  const { members, ...combination } = parseConfig(ensembleFile, json, description);
  const places = members.map((member) => resolve(folder, member));
  return { members: places.map((place) => checkpointOfRun(place) ?? place), ...combination };
}

/**
 * Opens an ensemble from its folder, or from the run that trained it.
 * @returns undefined if there is none at `path`
 * @throws InputError when `ensemble.json` is damaged or a member cannot be opened
 */
export function openEnsemble(path: string, options: { dtype?: DType } = {}): Ensemble | undefined {
  const description = readEnsemble(path);
  if (!description) return undefined;
  const { members: folders, ...combination } = description;
  const members: Model[] = [];
  try {
    for (const folder of folders) members.push(openModel(folder, options));
    return new Ensemble(members, combination);
  } catch (error) {
    for (const member of members) member.dispose();
    throw error instanceof InputError ? new InputError(`${path}: ${error.message}`) : error;
  }
}

/**
 * Averages the weights of an ensemble's members into one model (WARM; Ramé et al. 2024), in float32 before they are
 * rounded. Adapters are averaged as merged into the weights.
 * @param path the ensemble's folder or run @returns a new model, the caller's to dispose of
 * @throws InputError when there is no ensemble at `path`, or its members have different shapes
 */
export function averageMembers(path: string): Model {
  const folders = readEnsemble(path)?.members;
  if (!folders) throw new InputError(`${path}: no ensemble: it has no ${file}`);
  return noGrad(() =>
    scope(() => {
      const opened = folders.map((folder) => openModel(folder, { dtype: "float32" }));
      try {
        const { members } = new Ensemble(opened);
        const [first] = members as [Model];
        const average = first.clone();
        for (const [name, weight] of average.parameters)
          scope(() => {
            const values = members.map((member) => member.parameters.get(name));
            if (!values.every((value) => value?.shape.join() === weight.shape.join()))
              throw new InputError(`${path}: the members' weights "${name}" have different shapes`);
            weight.copy_((values as Tensor[]).reduce((a, b) => a.add(b)).mul(1 / members.length));
          });
        average.scoreShift = members.reduce((sum, { scoreShift }) => sum + scoreShift, 0) / members.length;
        return average;
      } finally {
        for (const model of opened) model.dispose();
      }
    }),
  );
}
