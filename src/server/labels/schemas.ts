import { z } from "zod";
import { messageSchema } from "../../data/records.ts";
import { roles } from "../../labels/events.ts";
import { answerSchema } from "../../labels/settings.ts";

// Schemas of the largest parts of responses: see `contract.ts`.

export const userSchema = z.object({
  id: z.string(),
  name: z.string(),
  role: z.enum(roles),
  skills: z.array(z.string()),
  cohort: z.record(z.string(), z.string()),
  active: z.boolean(),
  since: z.number(),
});

/** Estimate with its 95 % interval. */
const intervalSchema = z.object({ value: z.number(), low: z.number(), high: z.number() });

const estimateSchema = z.object({ value: intervalSchema.optional(), reason: z.string().optional() });

export const qualitySchema = z.object({
  judgements: z.number(),
  /** Krippendorff's α and Fleiss' κ of pairwise preferences; for rankings, mean Kendall's τ between labelers. */
  alpha: estimateSchema,
  fleiss: estimateSchema,
  tau: estimateSchema,
  /** Krippendorff's α of each criterion's ratings. */
  criteria: z.array(z.object({ name: z.string(), alpha: estimateSchema })),
  /** Warning that labelers agree too little. */
  alert: z.string().optional(),
  pairs: z.array(
    z.object({
      a: z.string(),
      b: z.string(),
      kappa: z.number().optional(),
      reason: z.string().optional(),
      observed: z.number(),
      items: z.number(),
    }),
  ),
  /** Tasks with the most disagreement, the worst first. */
  worst: z.array(z.object({ task: z.string(), prompt: z.string(), disagreement: z.number() })),
  /** Labelers by cohort attribute, and their agreement within and across groups. */
  cohorts: z.array(
    z.object({
      name: z.string(),
      values: z.array(z.object({ value: z.string(), labelers: z.number(), judgements: z.number() })),
      within: estimateSchema,
      across: estimateSchema,
      /** Difference that the labelers' reliabilities do not explain, and its p-value by permuting labelers between groups. */
      difference: z.object({
        value: z.number().optional(),
        pValue: z.number().optional(),
        reason: z.string().optional(),
      }),
    }),
  ),
  spent: z.number(),
  /** Pairs about which more labelers prefer one answer than the other or neither, or that a reviewer has decided. */
  usable: z.number(),
  costPerUsable: z.number().optional(),
  currency: z.string(),
  /**
   * Cost, judgements and tasks of the project's `target` of usable comparisons at the current rate; before the first
   * judgement, if all agree. A task of k answers has k(k − 1)/2 comparisons.
   */
  forecast: z
    .object({ target: z.number(), cost: z.number(), judgements: z.number(), tasks: z.number() })
    .optional(),
  skipped: z.array(z.object({ reason: z.string(), count: z.number() })),
});

export const labelerSchema = z.object({
  user: userSchema,
  judgements: z.number(),
  skipped: z.number(),
  /** Correct judgements of gold tasks. */
  gold: z.object({ right: z.number(), total: z.number() }),
  /** Equal answers to repeated tasks. */
  consistency: z.object({ same: z.number(), total: z.number() }),
  /** Win rates of the completion shown first and of the longer one; 0.5 is no bias. */
  left: estimateSchema,
  long: estimateSchema,
  /** Median seconds for a judgement. */
  seconds: z.number().optional(),
  /** By week, comparisons that others judged too, and how many of them agree. */
  agreement: z.array(z.object({ week: z.string(), agree: z.number(), total: z.number() })),
  /** Estimated probability of preferring the better completion, and the weight in training that follows from it. */
  reliability: z.number().optional(),
  weight: z.number(),
});

export const importReportSchema = z.object({
  format: z.string(),
  rows: z.number(),
  kept: z.number(),
  judgements: z.number(),
  /** Records left out, by reason; and the first lines of the file where they are, if they are known. */
  dropped: z.record(z.string(), z.number()),
  examples: z.record(z.string(), z.array(z.number())),
});

/** A file to import, of any format that `plumbline data check` detects. */
export const importSchema = z.object({
  name: z.string().max(300),
  /** JSON lines, JSON, CSV or TSV. */
  text: z.string().optional(),
  /** The same gzipped, or Parquet. */
  base64: z.string().optional(),
  /** The file's columns by plumbline's names for them. */
  columns: z.record(z.string(), z.string()).optional(),
  /** How its preferences are imported. Default: they are left out. */
  use: z.enum(["gold", "judgements"]).optional(),
  /** Imports only the first rows. */
  limit: z.int().min(1).optional(),
});

/** What an import would do. `problem` is there in place of the rest if it would be refused. */
export const importPreviewSchema = z.object({
  columns: z.array(z.object({ name: z.string(), example: z.string() })),
  /** The columns that are read under plumbline's names. */
  mapping: z.record(z.string(), z.string()),
  problem: z.string().optional(),
  report: importReportSchema.optional(),
  /** Columns that are not read. */
  unused: z.array(z.string()).optional(),
  /** Records that say which answer is better, or how good they are. */
  preferences: z.number().optional(),
  /** The first tasks. */
  samples: z
    .array(
      z.object({
        messages: z.array(messageSchema),
        completions: z.array(z.string()),
        known: answerSchema.optional(),
        judgements: z.array(z.object({ labeler: z.string(), answer: answerSchema })),
      }),
    )
    .optional(),
});

export const importedFileSchema = z.object({
  id: z.string(),
  source: z.string(),
  at: z.number(),
  withdrawn: z.boolean(),
  /** Number of tasks that it added, of judgements that it brought, and of those that people have made of its tasks. */
  tasks: z.number(),
  judgements: z.number(),
  judged: z.number(),
});
