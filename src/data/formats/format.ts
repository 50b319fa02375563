import { z } from "zod";
import { type Message, messageSchema } from "../records.ts";

/** What a format's records can train: see `readers.ts`. */
export type Kind = "demonstration" | "comparison" | "completions" | "prompt" | "unpaired" | "text";

/** A record on its way in, before the checks: `completions` has no element for a prompt, one for a demonstration. */
export interface Draft {
  prompt: Message[];
  completions: string[];
  ranks?: number[];
  margins?: number;
  weight?: number;
  /** How likely the better of a pair is the better. */
  probability?: number;
  labeler?: string;
  /** Why, in the labeler's words. */
  comment?: string;
  /** What became of a demonstration's response, oldest first; its completion is the last of them. */
  revisions?: { from: string; rounds: { text: string; comment: string }[] };
  id?: string;
  /** By how much the better of two is, from 1 (slightly) to 4 (much). */
  strength?: number;
  /** By criterion, one number a completion. */
  ratings?: Record<string, number[]>;
  /** Which model wrote each completion. */
  models?: (string | null)[];
  /** How long the labeler took. */
  seconds?: number;
  /** What a labeler must know to judge it. */
  skill?: string;
}

export interface Format {
  name: string;
  kind: Kind;
  /** The fields that tell it from the others: a row of this format has them all. */
  fields: string[];
  /** Ours and TRL's, which people write by hand: a bad row there is a mistake to mend, not noise to drop. */
  strict: boolean;
  /** Whether a row with all `fields` is of this format. */
  matches: (row: Record<string, unknown>) => boolean;
  /** The records in a row, or why there is none (a string). Throws `ZodError` for a malformed row. */
  read: (row: unknown) => Draft[] | string;
}

/** A format by the schema of its rows and what it makes of one; ours unless it says otherwise. */
export function defineFormat<T>(
  format: Pick<Format, "name" | "kind" | "fields"> & Partial<Pick<Format, "strict" | "matches">>,
  schema: z.ZodType<T>,
  read: (row: T) => Draft[] | string,
): Format {
  return { strict: true, matches: () => true, ...format, read: (row) => read(schema.parse(row)) };
}

export const conversation = z.array(messageSchema).min(1);
export const text = z.union([z.string(), conversation], {
  error: "expected a string or a list of {role, content}",
});
export const identifier = z.union([z.string(), z.number()]).transform(String).optional();
export const rank = z.number();
export const weight = z.number().min(0).optional();
export const probability = z.number().min(0.5).max(1).optional();
export const strength = z.int().min(1).max(4).optional();
export const skill = z.string().optional();
export const comment = z.string().optional();
export const models = z.array(z.string().nullable()).optional();
export type Text = z.infer<typeof text>;

export const userMessage = (content: string): Message => ({ role: "user", content });
export const toPrompt = (value: Text): Message[] =>
  typeof value === "string" ? [userMessage(value)] : value;

/** The reply in a completion column: the text, or the last message of a conversation. */
export const toReply = (value: Text): string =>
  typeof value === "string" ? value : (value.at(-1)?.content ?? "");

/** The criterion that thumbs are ratings of: 1 for up, 0 for down. */
export const thumbCriterion = "good";

/** Who wrote each, where any is known. */
export const modelNames = (all: readonly { model: string | null }[]): (string | null)[] | undefined =>
  all.some(({ model }) => model !== null) ? all.map(({ model }) => model) : undefined;

/** The object without its undefined values, which `exactOptionalPropertyTypes` keeps apart from absent ones. */
export function omitUndefined<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}
