import { z } from "zod";
import { defineFormat, user } from "./format.ts";

/** Stanford Human Preferences (Ethayarajh et al. 2022). */
export const shp = defineFormat(
  {
    name: "SHP",
    kind: "comparison",
    fields: ["history", "human_ref_A", "human_ref_B", "labels"],
    ours: false,
  },
  z.object({
    history: z.string(),
    human_ref_A: z.string(),
    human_ref_B: z.string(),
    labels: z.number().int().min(0).max(1),
  }),
  (row) => [
    {
      prompt: [user(row.history)],
      completions: [row.human_ref_A, row.human_ref_B],
      ranks: row.labels === 1 ? [0, 1] : [1, 0],
    },
  ],
);
