import { createHash, randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { writeAtomic } from "../data/jsonl.ts";
import type { Prompt } from "../data/records.ts";
import type { Policy } from "../eval/policies.ts";

/** What the answers of an evaluation depend on. */
export type EvaluationSettings = Record<string, string | number>;

const evaluationSchema = z.object({
  id: z.string(),
  settings: z.record(z.string(), z.union([z.string(), z.number()])),
});

const policySchema = z.object({
  name: z.string(),
  answers: z.array(
    z.object({
      promptIndex: z.int(),
      text: z.string(),
      tokens: z.int(),
      finished: z.boolean(),
      kl: z.number().exactOptional(),
      referenceLogprob: z.number().exactOptional(),
    }),
  ),
  losses: z.array(z.number()).exactOptional(),
});

/** Hashes prompts, so that answers to other prompts are not taken for theirs. */
export const hashPrompts = (prompts: readonly Prompt[]): string =>
  createHash("sha256")
    .update(JSON.stringify(prompts.map(({ prompt }) => prompt)))
    .digest("hex")
    .slice(0, 16);

/**
 * Folder of an evaluation: `evaluation.json` and `answers/`, which later commands use again, and the results. It is made when
 * the first policy has answered.
 */
export class EvaluationFolder {
  readonly path: string;
  /** Identifies the evaluation, in a label store too. */
  readonly id: string;
  readonly #settings: EvaluationSettings;

  /** @throws InputError if the folder's answers were made with other settings */
  constructor(path: string, settings: EvaluationSettings) {
    const file = join(path, "evaluation.json");
    const before = existsSync(file) ? readJson(file, evaluationSchema) : { id: randomUUID(), settings };
    const names = [...new Set([...Object.keys(before.settings), ...Object.keys(settings)])];
    const changes = names
      .filter((name) => before.settings[name] !== settings[name])
      .map((name) =>
        name === "prompts"
          ? "to other prompts"
          : `with ${name} ${before.settings[name] ?? "not set"}, now ${settings[name] ?? "not set"}`,
      );
    if (changes.length)
      throw new InputError(
        `${path}: its answers were made ${changes.join(", ")}: name another folder with --out`,
      );
    [this.path, this.id, this.#settings] = [path, before.id, settings];
  }

  at(name: string): string {
    return join(this.path, name);
  }

  /** Reads a policy's answers; undefined if it has not answered yet. */
  policy(name: string): Policy | undefined {
    const file = this.#answers(name);
    return existsSync(file) ? readJson(file, policySchema) : undefined;
  }

  /** @throws InputError if the folder cannot be made */
  savePolicy(policy: Policy): void {
    createFolder(this.at("answers"));
    writeJson(this.at("evaluation.json"), { id: this.id, settings: this.#settings });
    writeJson(this.#answers(policy.name), policy);
  }

  #answers(name: string): string {
    return this.at(join("answers", `${encodeURIComponent(name)}.json`));
  }
}

/** Creates a folder that may exist. @throws InputError if a file is in its place, or it cannot be made */
export function createFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new InputError(`${path}: the folder cannot be made: ${(error as Error).message}`);
  }
}

export const writeJson = (path: string, value: unknown): void =>
  writeAtomic(path, (write) => write(`${JSON.stringify(value)}\n`));

/** Reads a file that this program wrote. @throws InputError if it was damaged */
export function readJson<T>(path: string, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch (error) {
    throw new InputError(`${path}: damaged (${(error as Error).message}): remove it, or name another folder`);
  }
}
