import { z } from "zod";
import { combine, penalty } from "../models/ensemble-config.ts";
import { noSandboxPhrase } from "./sandbox/unsandboxed.ts";

const answerOptions = { field: z.string().default("answer"), extract: z.string().optional() };

/** Config of a term of a reward. Exactly one of `model`, `module`, `command`, … names what scores. */
export const termConfig = z.strictObject({
  /** Name in metrics. Default: the key of what scores, such as "regex". */
  name: z.string().min(1).optional(),
  weight: z.number().default(1),
  /** A reward model or an ensemble of them: name, folder or run. */
  model: z.string().optional(),
  /** How an ensemble's scores become one. Default: as the ensemble was trained to. */
  combine: combine.optional(),
  /** λ of `combine: penalised`. */
  penalty: penalty.optional(),
  /** A JavaScript or TypeScript file whose default export is a `RewardFunction`. */
  module: z.string().optional(),
  /** A shell command that reads a JSON line for each completion and prints a number for each. */
  command: z.string().optional(),
  /** A server that answers a POST of `{"samples": […]}` with `{"scores": […]}`. */
  url: z.url().optional(),
  /** Length in characters. */
  length: z.strictObject({ min: z.int().min(0).default(0), max: z.int().positive().optional() }).optional(),
  /** Pattern that the completion should contain. */
  regex: z.strictObject({ pattern: z.string(), flags: z.string().default("") }).optional(),
  /** Tags that the completion should consist of, in this order. */
  format: z.strictObject({ tags: z.array(z.string().min(1)).min(1) }).optional(),
  /** JSON schema that the completion should satisfy. */
  jsonSchema: z.record(z.string(), z.unknown()).optional(),
  /** The answer should equal a field of the prompt's row, ignoring letter case and white space. */
  answer: z.strictObject(answerOptions).optional(),
  /** The last number of the answer should equal that of a field of the prompt's row. */
  numeric: z.strictObject({ ...answerOptions, tolerance: z.number().min(0).default(1e-6) }).optional(),
  /** Penalty: −(share of repeated n-grams). */
  repetition: z.strictObject({ size: z.int().positive().default(3) }).optional(),
  /** Instructions in the prompt's row that a program checks, as in IFEval: the share that is followed, or 1 if all are. */
  instructions: z.strictObject({ measure: z.enum(["share", "all"]).default("share") }).optional(),
  /** Runs the completion's code in a sandbox against the tests in a field of the prompt's row. */
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
  /** Time limit of a function for a completion, or of a command or server for a batch. */
  timeoutSeconds: z.number().positive().default(60),
});
export type Term = z.output<typeof termConfig>;

/** A reward in a recipe: a name, path or address, one term with settings, or a list of terms, whose weighted sum is the reward. */
export const rewardSpec = z.union([
  z.string(),
  z.record(z.string(), z.unknown()),
  z.array(z.record(z.string(), z.unknown())).min(1),
]);
