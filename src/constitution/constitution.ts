import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { parseConfig } from "../run/config.ts";

const request = z.string().trim().min(1);

const principle = z.strictObject({
  /** What it is called in logs. */
  name: z.string().min(1),
  /** How often it is drawn, and how much it counts in preferences, beside the others. */
  weight: z.number().positive().default(1),
  /** Asks what is wrong with the last answer, and then for a better one. */
  critique: request.optional(),
  revision: request.optional(),
  /** Asks which of two answers is better. */
  preference: request.optional(),
});

export const constitutionSchema = z.strictObject({
  name: z.string().min(1),
  version: z.union([z.string(), z.number()]).transform(String).default("1"),
  principles: z.array(principle).min(1),
});

export type Principle = z.output<typeof principle>;
export interface Constitution extends z.output<typeof constitutionSchema> {
  /** SHA-256 of what it says, 12 digits: tells apart what was judged under which. */
  hash: string;
}

/** @param path YAML file @throws InputError with the mistakes in it */
export function readConstitution(path: string): Constitution {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    throw new InputError(`${path}: there is no such file`);
  }
  let given: unknown;
  try {
    given = parse(text);
  } catch (error) {
    throw new InputError(`${path}: ${(error as Error).message}`);
  }
  return toConstitution(given, path);
}

export function toConstitution(given: unknown, where = "constitution"): Constitution {
  const read = parseConfig(constitutionSchema, given, where);
  const names = read.principles.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new InputError(`${where}: two principles are called "${twice}"`);
  const half = read.principles.find(({ critique, revision }) => !critique !== !revision);
  if (half)
    throw new InputError(`${where}: "${half.name}" should have both critique and revision, or neither`);
  const hash = createHash("sha256").update(JSON.stringify(read)).digest("hex").slice(0, 12);
  return { ...read, hash };
}

/** Principles that can be used so. @throws InputError where none can */
export function principlesFor(
  { name, principles }: Constitution,
  use: "critique" | "preference",
): (Principle & Required<Pick<Principle, typeof use>>)[] {
  const able = principles.filter((one) => one[use] !== undefined);
  if (!able.length) throw new InputError(`the constitution "${name}" has no principle with a ${use}`);
  return able as never;
}

/** One of the principles, by their weights. @param random in [0, 1) */
export function draw<T extends Principle>(principles: readonly T[], random: number): T {
  let left = random * principles.reduce((sum, { weight }) => sum + weight, 0);
  const drawn = principles.find(({ weight }) => {
    left -= weight;
    return left < 0;
  });
  return drawn ?? (principles.at(-1) as T);
}
