import { z } from "zod";
import { InputError } from "../data/errors.ts";

/** What a labeler is asked to do with the completions of a prompt. */
export const kinds = ["ranking", "pairwise", "rating", "demonstration"] as const;
export type TaskKind = (typeof kinds)[number];

const name = z.string().trim().min(1).max(200);
const share = z.number().min(0).max(0.5);

/** How a project works. Every change of it is in the log. */
export const projectSettings = z.strictObject({
  kind: z.enum(kinds),
  /** Judgements of each task, by as many labelers. */
  overlap: z.int().min(1).max(50).default(2),
  /** Where labelers disagree, a task gets one more at a time, up to this. */
  maxOverlap: z.int().min(1).max(50).default(3),
  /** What each completion is rated on, from `low` to `high`. */
  rubric: z
    .array(
      z
        .strictObject({ name, low: z.int().default(1), high: z.int().default(7) })
        .refine(({ low, high }) => low < high, { path: ["high"], error: "must be above low" }),
    )
    // Ratings go by the criterion's name.
    .refine((rubric) => new Set(rubric.map(({ name }) => name)).size === rubric.length, {
      error: "two criteria have one name",
    })
    .default([]),
  /** What a completion can be marked with. */
  flags: z.array(name).default([]),
  /** Share of tasks whose answer is known, which labelers are measured by. */
  goldRate: share.default(0.05),
  /** Share of tasks that a labeler has judged before. */
  repeatRate: share.default(0.05),
  /** How long a task is kept for a labeler who does nothing. */
  leaseMinutes: z.number().positive().max(1440).default(30),
  /** Who may judge: labelers with this skill. A prompt can ask for another. */
  skill: name.optional(),
  /** What a judgement costs. */
  price: z.number().min(0).default(0),
  currency: z.string().max(8).default("$"),
  /** Share of the qualification's questions to be answered rightly. */
  passMark: z.number().min(0).max(1).default(0.8),
  /** Usable comparisons to reckon the cost of. */
  target: z.int().min(1).max(1e9).optional(),
});
export type ProjectSettings = z.infer<typeof projectSettings>;

/** A question about the guidelines that is answered before the first task. */
export const question = z
  .strictObject({
    question: z.string().min(1),
    options: z.array(z.string().min(1)).min(2).max(8),
    correct: z.int().min(0),
  })
  .refine(({ options, correct }) => correct < options.length, {
    path: ["correct"],
    error: "must be the place of an option",
  });
export type Question = z.infer<typeof question>;

/**
 * A judgement's content, about a task's completions in the order that they are stored in (a labeler sees another). What
 * a project does not ask for is absent, so that no answer is never mistaken for a low one.
 */
export const answerSchema = z.strictObject({
  /** One a completion, 1 is best, equal is a tie. */
  ranks: z.array(z.int().min(1)).optional(),
  /** 1 (the first is much better) to 8 (the second is), as in hh-rlhf. */
  preference: z.int().min(1).max(8).optional(),
  /** How likely the better of a pair is the better, from one who says: a model's soft label. */
  probability: z.number().min(0.5).max(1).optional(),
  /** Neither should be learned from. */
  bothBad: z.boolean().optional(),
  /** By criterion, one number a completion. */
  ratings: z.record(z.string(), z.array(z.int())).optional(),
  /** By flag, whether each completion has it. */
  flags: z.record(z.string(), z.array(z.boolean())).optional(),
  /** The demonstration. */
  text: z.string().max(2_000_000).optional(),
  comment: z.string().max(2_000_000).optional(),
  /** In place of all else but a comment. */
  skip: z.string().trim().min(1).max(200).optional(),
});
export type Answer = z.infer<typeof answerSchema>;

/** An answer as it is stored. */
export const parseAnswer = (json: string): Answer => answerSchema.parse(JSON.parse(json));

/** @throws InputError when the answer is not what the project asks for about this many completions */
export function checkAnswer(answer: Answer, settings: ProjectSettings, completions: number): void {
  const { ranks, preference, bothBad, ratings = {}, flags = {}, text, skip } = answer;
  const fail = (field: string, why: string): never => {
    throw new InputError(`${field}: ${why}`);
  };
  const { comment: _, ...asked } = answer;
  if (skip !== undefined) {
    if (Object.keys(asked).length > 1) fail("skip", "a skipped task has no other answer");
    return;
  }
  if ((settings.kind === "ranking") !== (ranks !== undefined))
    fail("ranks", ranks ? "this project does not ask for a ranking" : "rank every completion");
  if (ranks && ranks.length !== completions)
    fail("ranks", `${completions} completions, ${ranks.length} ranks`);
  const chosen = preference !== undefined || bothBad === true;
  if ((settings.kind === "pairwise") !== chosen)
    fail("preference", chosen ? "this project does not ask for one" : "choose one, or say that both are bad");
  if ((settings.kind === "demonstration") !== (text !== undefined))
    fail("text", text === undefined ? "write a response" : "this project does not ask for one");
  if (text?.trim() === "") fail("text", "the response is empty");
  const criteria = settings.kind === "demonstration" ? [] : settings.rubric;
  for (const { name, low, high } of criteria) {
    const given = ratings[name] ?? fail(`ratings.${name}`, "rate every completion");
    if (given.length !== completions || given.some((rating) => rating < low || rating > high))
      fail(`ratings.${name}`, `one number from ${low} to ${high} for each of ${completions} completions`);
  }
  const unknown = Object.keys(ratings).find((name) => !criteria.some((one) => one.name === name));
  if (unknown !== undefined) fail(`ratings.${unknown}`, "no such criterion in this project");
  for (const [flag, marks] of Object.entries(flags))
    if (!settings.flags.includes(flag) || marks.length !== completions)
      fail(`flags.${flag}`, "not a flag of this project, or not one mark a completion");
}

/** The answer about the completions as they are stored, from one about them as shown: place i showed `order[i]`. */
export const unshuffle = (answer: Answer, order: readonly number[]): Answer =>
  shuffleAnswer(
    answer,
    order.map((_, place) => order.indexOf(place)),
  );

/** The answer about the completions as shown, from one about them as they are stored. */
export function shuffleAnswer(answer: Answer, order: readonly number[]): Answer {
  const stored = <T>(list: readonly T[]): T[] => order.map((place) => list[place] as T);
  const each = <T>(lists: Record<string, T[]>) =>
    Object.fromEntries(Object.entries(lists).map(([name, list]) => [name, stored(list)]));
  const { ranks, preference, ratings, flags } = answer;
  return {
    ...answer,
    ...(ranks && { ranks: stored(ranks) }),
    ...(preference !== undefined && order[0] === 1 && { preference: 9 - preference }),
    ...(ratings && { ratings: each(ratings) }),
    ...(flags && { flags: each(flags) }),
  };
}
