import { alpaca } from "./alpaca.ts";
import { argilla } from "./argilla.ts";
import type { Format } from "./format.ts";
import { hh } from "./hh.ts";
import { labelStudio } from "./label-studio.ts";
import { llmbar } from "./llmbar.ts";
import { oasst } from "./oasst.ts";
import { openaiSummarise } from "./openai.ts";
import { promptAndCompletions, rankings, revisions } from "./plumbline.ts";
import { implicitPreference, preference, preferenceLists, ratedPreferences } from "./preference.ts";
import { shareGpt } from "./sharegpt.ts";
import { shp } from "./shp.ts";
import { answersSideBySide, judgedSideBySide } from "./side-by-side.ts";
import { messages, plainText, promptCompletion, promptOnly, unpaired } from "./trl.ts";
import { ultraFeedback } from "./ultrafeedback.ts";

/** Formats in order of detection: the first match wins, so more specific formats come first. */
export const formats: readonly Format[] = [
  rankings,
  ultraFeedback,
  openaiSummarise,
  oasst,
  shp,
  llmbar,
  labelStudio,
  argilla,
  ...ratedPreferences,
  preferenceLists,
  preference,
  hh,
  implicitPreference,
  judgedSideBySide,
  answersSideBySide,
  promptAndCompletions,
  unpaired,
  promptCompletion,
  revisions,
  messages,
  shareGpt,
  alpaca,
  plainText,
  promptOnly,
];
