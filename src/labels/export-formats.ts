/** Formats of exported rows: see `exportRows`. */
export const exportFormats = [
  "rankings",
  "preference",
  "prompt-completion",
  "unpaired",
  "hh-rlhf",
  "openai",
  "open-assistant",
  "ultrafeedback",
  "label-studio",
  "argilla",
  "judgements",
  "log",
] as const;
export type ExportFormat = (typeof exportFormats)[number];
