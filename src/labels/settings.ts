import { z } from "zod";
import { InputError } from "../data/errors.ts";

/** What labelers do with the completions of a prompt. */
export const taskKinds = ["ranking", "pairwise", "rating", "demonstration"] as const;
export type TaskKind = (typeof taskKinds)[number];

const name = z.string().trim().min(1).max(200);
const share = z.number().min(0).max(0.5);

/** Schema of a project's settings. Every change is an event in the log. */
export const projectSettingsSchema = z.strictObject({
  kind: z.enum(taskKinds),
  /** Number of judgements of each task, each by a different labeler. */
  overlap: z.int().min(1).max(50).default(2),
  /** While labelers disagree, a task gets one more judgement at a time, up to this many. */
  maxOverlap: z.int().min(1).max(50).default(3),
  /** Criteria that each completion is rated on, from `low` to `high`. */
  rubric: z
    .array(
      z
        .strictObject({ name, low: z.int().default(1), high: z.int().default(7) })
        .refine(({ low, high }) => low < high, { path: ["high"], error: "must be above low" }),
    )
    // Ratings are stored by criterion name.
    .refine((rubric) => new Set(rubric.map(({ name }) => name)).size === rubric.length, {
      error: "two criteria have one name",
    })
    .default([]),
  /** Flags that a completion can be marked with, such as "spam". */
  flags: z.array(name).default([]),
  /** Share of gold tasks: their answer is known, and labelers are measured by them. */
  goldRate: share.default(0.05),
  /** Share of tasks that a labeler is given a second time, to measure consistency. */
  repeatRate: share.default(0.05),
  /** Minutes for which a task is reserved for a labeler after their last activity. */
  leaseMinutes: z.number().positive().max(1440).default(30),
  /** Skill that labelers need to judge. A prompt may require another. */
  skill: name.optional(),
  /** Price of one judgement. */
  price: z.number().min(0).default(0),
  currency: z.string().max(8).default("$"),
  /** Share of the qualification questions that must be answered correctly. */
  passMark: z.number().min(0).max(1).default(0.8),
  /** Number of usable comparisons that the quality page forecasts the cost of. */
  target: z.int().min(1).max(1e9).optional(),
});
export type ProjectSettings = z.infer<typeof projectSettingsSchema>;

/** Schema of a question about the guidelines, which labelers answer before their first task. */
export const questionSchema = z
  .strictObject({
    question: z.string().min(1),
    options: z.array(z.string().min(1)).min(2).max(8),
    correct: z.int().min(0),
  })
  .refine(({ options, correct }) => correct < options.length, {
    path: ["correct"],
    error: "must be the position of an option",
  });
export type Question = z.infer<typeof questionSchema>;

/**
 * Schema of an answer. Lists are in the stored order of the task's completions, not the order that the labeler saw.
 * Fields that the project does not ask for are absent, so that a missing answer is never read as a low one.
 */
export const answerSchema = z.strictObject({
  /** One rank for each completion: 1 is best, equal ranks are ties. */
  ranks: z.array(z.int().min(1)).optional(),
  /** From 1 (the first is much better) to 8 (the second is much better), as in hh-rlhf. */
  preference: z.int().min(1).max(8).optional(),
  /** Soft label of an AI judge: probability that the preferred completion is the better one. */
  probability: z.number().min(0.5).max(1).optional(),
  /** Both completions are bad: neither is trained on. */
  bothBad: z.boolean().optional(),
  /** By criterion, one number for each completion. */
  ratings: z.record(z.string(), z.array(z.int())).optional(),
  /** By flag, whether each completion is marked with it. */
  flags: z.record(z.string(), z.array(z.boolean())).optional(),
  /** Text of the demonstration. */
  text: z.string().max(2_000_000).optional(),
  comment: z.string().max(2_000_000).optional(),
  /** Reason for skipping the task. Excludes every field but `comment`. */
  skip: z.string().trim().min(1).max(200).optional(),
});
export type Answer = z.infer<typeof answerSchema>;

/** Parses a stored answer. */
export const parseAnswer = (json: string): Answer => answerSchema.parse(JSON.parse(json));

/** Checks that an answer fits the project's settings and the number of completions. @throws InputError if it does not */
export function checkAnswer(answer: Answer, settings: ProjectSettings, completions: number): void {
  const { ranks, preference, bothBad, ratings = {}, flags = {}, text, skip } = answer;
  const fail = (field: string, why: string): never => {
    throw new InputError(`${field}: ${why}`);
  };
  const { comment: _, ...fields } = answer;
  if (skip !== undefined) {
    if (Object.keys(fields).length > 1) fail("skip", "a skipped task has no other answer");
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
    const values = ratings[name] ?? fail(`ratings.${name}`, "rate every completion");
    if (values.length !== completions || values.some((rating) => rating < low || rating > high))
      fail(`ratings.${name}`, `one number from ${low} to ${high} for each of ${completions} completions`);
  }
  const unknown = Object.keys(ratings).find((name) => !criteria.some((criterion) => criterion.name === name));
  if (unknown !== undefined) fail(`ratings.${unknown}`, "no such criterion in this project");
  for (const [flag, marks] of Object.entries(flags))
    if (!settings.flags.includes(flag) || marks.length !== completions)
      fail(`flags.${flag}`, "not a flag of this project, or not one mark for each completion");
}

/** Converts an answer from the order that was shown to stored order: position i showed completion `order[i]`. */
export const unpermuteAnswer = (answer: Answer, order: readonly number[]): Answer =>
  permuteAnswer(
    answer,
    order.map((_, place) => order.indexOf(place)),
  );

/** Reorders an answer: position i of the result is about completion `order[i]` of `answer`. Converts stored to shown order. */
export function permuteAnswer(answer: Answer, order: readonly number[]): Answer {
  const permute = <T>(list: readonly T[]): T[] => order.map((place) => list[place] as T);
  const permuteAll = <T>(lists: Record<string, T[]>) =>
    Object.fromEntries(Object.entries(lists).map(([name, list]) => [name, permute(list)]));
  const { ranks, preference, ratings, flags } = answer;
  return {
    ...answer,
    ...(ranks && { ranks: permute(ranks) }),
    ...(preference !== undefined && order[0] === 1 && { preference: 9 - preference }),
    ...(ratings && { ratings: permuteAll(ratings) }),
    ...(flags && { flags: permuteAll(flags) }),
  };
}
