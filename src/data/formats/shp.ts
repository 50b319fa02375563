import { z } from "zod";
import { defineFormat, userMessage } from "./format.ts";

/** Stanford Human Preferences (Ethayarajh et al. 2022). */
export const shp = defineFormat(
  {
    name: "SHP",
    kind: "comparison",
    fields: ["history", "human_ref_A", "human_ref_B", "labels"],
    strict: false,
  },
  z.object({
    history: z.string(),
    human_ref_A: z.string(),
    human_ref_B: z.string(),
    labels: z.number().int().min(0).max(1),
  }),
  (row) => [
    {
      prompt: [userMessage(row.history)],
      completions: [row.human_ref_A, row.human_ref_B],
      ranks: row.labels === 1 ? [0, 1] : [1, 0],
    },
  ],
);
