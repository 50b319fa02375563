import { z } from "zod";
import { roles } from "../../labels/events.ts";

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
      difference: estimateSchema,
    }),
  ),
  spent: z.number(),
  usable: z.number(),
  costPerUsable: z.number().optional(),
  currency: z.string(),
  /** Cost of the project's `target` of usable comparisons at the current rate. */
  forecast: z.object({ target: z.number(), cost: z.number(), judgements: z.number() }).optional(),
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
