import { z } from "zod";
import { noSandboxPhrase } from "./sandbox/unsandboxed.ts";

const answerOptions = { field: z.string().default("answer"), extract: z.string().optional() };

/** A part of a reward. It has exactly one of the keys that say what scores. */
export const termConfig = z.strictObject({
  /** What it is called in metrics; by default what it is. */
  name: z.string().min(1).optional(),
  weight: z.number().default(1),
  /** A reward model: name, folder or run. */
  model: z.string().optional(),
  /** A JavaScript or TypeScript file whose default export is a `RewardFunction`. */
  module: z.string().optional(),
  /** A shell command: a JSON line of each completion goes in, a line with a number comes out for each. */
  command: z.string().optional(),
  /** A server: `{"samples": […]}` is posted to it, `{"scores": […]}` comes back. */
  url: z.url().optional(),
  /** Characters. */
  length: z.strictObject({ min: z.int().min(0).default(0), max: z.int().positive().optional() }).optional(),
  regex: z.strictObject({ pattern: z.string(), flags: z.string().default("") }).optional(),
  /** Tags that the text is made of, in their order. */
  format: z.strictObject({ tags: z.array(z.string().min(1)).min(1) }).optional(),
  jsonSchema: z.record(z.string(), z.unknown()).optional(),
  /** Equal to a field of the prompt's row, letter case and white space aside. */
  answer: z.strictObject(answerOptions).optional(),
  /** Its last number equal to that of a field of the prompt's row. */
  numeric: z.strictObject({ ...answerOptions, tolerance: z.number().min(0).default(1e-6) }).optional(),
  /** −(share of n-grams said before). */
  repetition: z.strictObject({ size: z.int().positive().default(3) }).optional(),
  /** Code that is run against the tests in a field of the prompt's row, in a sandbox. */
  code: z
    .strictObject({
      language: z.enum(["javascript", "typescript", "python"]),
      field: z.string().default("tests"),
      measure: z.enum(["passed", "all", "speed", "style"]).default("passed"),
      limits: z
        .strictObject({
          seconds: z.number().positive(),
          memoryMb: z.number().positive(),
          processes: z.int().positive(),
          filesMb: z.number().positive(),
          outputKb: z.number().positive(),
        })
        .partial()
        .optional(),
      container: z.string().min(1).optional(),
      withoutSandbox: z.literal(noSandboxPhrase).optional(),
    })
    .optional(),
  /** Longest that a program may take, for a completion or, by command or server, for a batch. */
  timeoutSeconds: z.number().positive().default(60),
});
export type Term = z.output<typeof termConfig>;

/** A reward as a recipe has it: a name, path or address, one part with settings, or a list of parts that are summed. */
export const rewardSpec = z.union([
  z.string(),
  z.record(z.string(), z.unknown()),
  z.array(z.record(z.string(), z.unknown())).min(1),
]);
