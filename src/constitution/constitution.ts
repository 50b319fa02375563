import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { parseConfig } from "../run/config.ts";

const request = z.string().trim().min(1);

const principle = z.strictObject({
  /** Name in logs. */
  name: z.string().min(1),
  /** Relative weight: how often it is drawn for critiques, and how much it counts in preferences. */
  weight: z.number().positive().default(1),
  /** Request to criticise the last answer. */
  critique: request.optional(),
  /** Request to revise the answer by the critique. */
  revision: request.optional(),
  /** Question which of two answers is better. */
  preference: request.optional(),
});

export const constitutionSchema = z.strictObject({
  name: z.string().min(1),
  version: z.union([z.string(), z.number()]).transform(String).default("1"),
  principles: z.array(principle).min(1),
});

export type Principle = z.output<typeof principle>;
export interface Constitution extends z.output<typeof constitutionSchema> {
  /** First 12 hex digits of the SHA-256 of its contents: identifies the version that judged. */
  hash: string;
}

/** Reads a constitution from a YAML file. @throws InputError with the mistakes in it */
export function readConstitution(path: string): Constitution {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    throw new InputError(`${path}: there is no such file`);
  }
  let parsed: unknown;
  try {
    parsed = parse(text);
  } catch (error) {
    throw new InputError(`${path}: ${(error as Error).message}`);
  }
  return toConstitution(parsed, path);
}

/** Checks a parsed constitution and adds its hash. @param where its file, for errors @throws InputError */
export function toConstitution(input: unknown, where = "constitution"): Constitution {
  const read = parseConfig(constitutionSchema, input, where);
  const names = read.principles.map(({ name }) => name);
  const duplicate = names.find((name, i) => names.indexOf(name) < i);
  if (duplicate !== undefined) throw new InputError(`${where}: two principles are called "${duplicate}"`);
  const incomplete = read.principles.find(({ critique, revision }) => !critique !== !revision);
  if (incomplete)
    throw new InputError(`${where}: "${incomplete.name}" should have both critique and revision, or neither`);
  const hash = createHash("sha256").update(JSON.stringify(read)).digest("hex").slice(0, 12);
  return { ...read, hash };
}

/** Returns the principles that have a critique, or a preference. @throws InputError if there are none */
export function principlesFor(
  { name, principles }: Constitution,
  use: "critique" | "preference",
): (Principle & Required<Pick<Principle, typeof use>>)[] {
  const usable = principles.filter((principle) => principle[use] !== undefined);
  if (!usable.length) throw new InputError(`the constitution "${name}" has no principle with a ${use}`);
  return usable as never;
}

/** Draws a principle with probability proportional to its weight. @param random uniform in [0, 1) */
export function drawPrinciple<T extends Principle>(principles: readonly T[], random: number): T {
  let remaining = random * principles.reduce((sum, { weight }) => sum + weight, 0);
  const drawn = principles.find(({ weight }) => {
    remaining -= weight;
    return remaining < 0;
  });
  return drawn ?? (principles.at(-1) as T);
}
