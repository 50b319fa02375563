/** What an export's rows can be: see `exportRows`. */
export const exportFormats = ["rankings", "preference", "prompt-completion", "judgements", "log"] as const;
export type ExportFormat = (typeof exportFormats)[number];
