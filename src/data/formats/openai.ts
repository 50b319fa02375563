import { z } from "zod";
import { defineFormat, identifier, modelNames, omitUndefined, userMessage } from "./format.ts";

/** Comparisons of summaries (Stiennon et al. 2020). */
export const openaiSummarise = defineFormat(
  { name: "OpenAI summarise", kind: "comparison", fields: ["info", "summaries", "choice"], strict: false },
  z.object({
    info: z.object({
      post: z.string().nullish(),
      article: z.string().nullish(),
      title: z.string().nullish(),
      subreddit: z.string().nullish(),
    }),
    summaries: z.array(z.object({ text: z.string(), policy: z.string().nullish() })).length(2),
    choice: z.number().int().min(0).max(1),
    worker: identifier,
  }),
  ({ info, summaries, choice, worker }) => {
    // The query format of Stiennon et al. 2020, table 3; the CNN/DM articles among the comparisons have no post.
    const parts = [
      info.subreddit ? `SUBREDDIT: r/${info.subreddit}` : "",
      info.title ? `TITLE: ${info.title}` : "",
      info.post ? `POST: ${info.post}` : (info.article ?? ""),
      "TL;DR:",
    ];
    return [
      {
        prompt: [userMessage(parts.filter((part) => part !== "").join("\n\n"))],
        completions: summaries.map((summary) => summary.text.trim()),
        ranks: choice === 0 ? [0, 1] : [1, 0],
        ...omitUndefined({
          labeler: worker,
          models: modelNames(summaries.map(({ policy = null }) => ({ model: policy }))),
        }),
      },
    ];
  },
);
