import { z } from "zod";
import { denseRanks, mean } from "../../statistics/numbers.ts";
import { defineFormat, modelNames, omitUndefined, userMessage } from "./format.ts";

/** UltraFeedback (Cui et al. 2023): completions rated by criterion. */
export const ultraFeedback = defineFormat(
  { name: "UltraFeedback", kind: "comparison", fields: ["instruction", "completions"], strict: false },
  z.object({
    instruction: z.string(),
    completions: z.array(
      z.object({
        response: z.string(),
        model: z.string().nullish(),
        annotations: z.record(z.string(), z.object({ Rating: z.string() })),
      }),
    ),
  }),
  ({ instruction, completions }) => {
    const rated = completions.flatMap(({ response, annotations, model = null }) => {
      // A rating may be "N/A". The rank is the mean of the other ratings.
      const ratings = Object.entries(annotations).flatMap(([criterion, { Rating }]) => {
        const rating = Number.parseFloat(Rating);
        return Number.isNaN(rating) ? [] : [[criterion, rating] as const];
      });
      const average = mean(ratings.map(([, rating]) => rating));
      return ratings.length === 0 ? [] : [{ response, model, ratings: new Map(ratings), rank: -average }];
    });
    if (rated.length < 2) return "fewer than two rated completions";
    const sharedCriteria = [...(rated[0]?.ratings.keys() ?? [])].filter((name) =>
      rated.every(({ ratings }) => ratings.has(name)),
    );
    const ratings = sharedCriteria.map((name) => [
      name,
      rated.map((completion) => completion.ratings.get(name) as number),
    ]);
    return [
      {
        prompt: [userMessage(instruction)],
        completions: rated.map(({ response }) => response),
        ranks: denseRanks(rated.map(({ rank }) => rank)),
        ...omitUndefined({
          ratings: ratings.length ? Object.fromEntries(ratings) : undefined,
          models: modelNames(rated),
        }),
      },
    ];
  },
);
