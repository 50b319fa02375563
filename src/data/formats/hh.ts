import { pairFormat } from "./preference.ts";
import { isTranscript } from "./transcript.ts";

/** Anthropic's hh-rlhf (Bai et al. 2022): two transcripts that differ in the last reply. */
export const hh = pairFormat("hh-rlhf", ["chosen", "rejected"], (row) => isTranscript(String(row.chosen)));
