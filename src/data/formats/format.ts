import { z } from "zod";
import { type Message, messageInFileSchema, type Tool, toolSchema } from "../records.ts";

/** Kind of data, which decides what it can train: see `readers.ts`. */
export type Kind = "demonstration" | "comparison" | "completions" | "prompt" | "unpaired" | "text";

/** A record as a format reads it, before validation. `completions` is empty for a prompt and has one for a demonstration. */
export interface Draft {
  prompt: Message[];
  completions: string[];
  /** The completion of a demonstration as a message, if it has more than text. */
  reply?: Message;
  /** Functions that the model may call. */
  tools?: Tool[];
  /** Whether assistant turns of the prompt are demonstrations too. */
  learnPrompt?: boolean;
  /** What of the row was left out, for the report. */
  note?: string;
  ranks?: number[];
  margins?: number;
  weight?: number;
  /** Soft label: probability that the preferred completion is the better one. */
  probability?: number;
  labeler?: string;
  /** The labeler's comment. */
  comment?: string;
  /** Revisions of a response by a constitution, oldest first. The completion is the last one. */
  revisions?: { from: string; rounds: { text: string; comment: string }[] };
  id?: string;
  /** Strength of the preference, from 1 (slightly better) to 4 (much better). */
  strength?: number;
  /** By criterion, one number for each completion. */
  ratings?: Record<string, number[]>;
  /** Model that wrote each completion. */
  models?: (string | null)[];
  /** Time that the labeler took. */
  seconds?: number;
  /** Skill that a labeler needs to judge it. */
  skill?: string;
}

export interface Format {
  name: string;
  kind: Kind;
  /** Fields that every row of this format has, and that tell it from other formats. */
  fields: string[];
  /** Columns that it reads, optional ones included. */
  columns: string[];
  /** Whether a malformed row is an error. True for formats that people write by hand; in public data sets it is dropped. */
  strict: boolean;
  /** Whether a row with all `fields` is of this format. */
  matches: (row: Record<string, unknown>) => boolean;
  /** Reads the records in a row; a string says why there is none. @throws ZodError for a malformed row */
  read: (row: unknown) => Draft[] | string;
}

/** Defines a format by the schema of its rows and a function that reads one. Default: `strict`. */
export function defineFormat<T>(
  format: Pick<Format, "name" | "kind" | "fields"> & Partial<Pick<Format, "strict" | "matches">>,
  schema: z.ZodType<T>,
  read: (row: T) => Draft[] | string,
): Format {
  const columns = schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
  return { strict: true, matches: () => true, columns, ...format, read: (row) => read(schema.parse(row)) };
}

/** A text of JSON, parsed. */
export const jsonText = z.string().transform((text, context) => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    context.addIssue({ code: "custom", message: "not JSON" });
    return z.NEVER;
  }
});

/** Functions that the model may call: a list of JSON schemas, or its JSON, as tables hold it. */
export const tools = z.union([z.array(toolSchema), jsonText.pipe(z.array(toolSchema))], {
  error: "expected a list of JSON schemas",
});

export const conversation = z.array(messageInFileSchema).min(1);
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

/** Converts a completion column to text: the text itself, or the last message of a conversation. */
export const toReply = (value: Text): string =>
  typeof value === "string" ? value : (value.at(-1)?.content ?? "");

/** Reads the last assistant message of a conversation and what comes before it; a string says why there is none. */
export function toDemonstration(messages: readonly Message[]): Draft | string {
  const last = messages.findLastIndex(({ role }) => role === "assistant");
  const reply = messages[last];
  if (!reply) return "no assistant message";
  const prompt = messages.slice(0, last);
  return {
    prompt,
    ...toCompletion(reply),
    ...(prompt.some(({ role }) => role === "assistant") && { learnPrompt: true }),
    ...(last < messages.length - 1 && { note: "turns after the last assistant turn left out" }),
  };
}

/** Converts an assistant message to a completion. Tool calls without text are shown as JSON. */
export function toCompletion(reply: Message): Pick<Draft, "completions" | "reply"> {
  const { role, content, ...more } = reply;
  const text = content === "" && more.tool_calls ? JSON.stringify(more.tool_calls) : content;
  return { completions: [text], ...(Object.keys(more).length && { reply }) };
}

/** Criterion under which thumbs are stored as ratings: 1 for up, 0 for down. */
export const thumbCriterion = "good";

/** Lists the models that wrote completions; undefined if none is known. */
export const modelNames = (all: readonly { model: string | null }[]): (string | null)[] | undefined =>
  all.some(({ model }) => model !== null) ? all.map(({ model }) => model) : undefined;

/** Removes undefined fields: `exactOptionalPropertyTypes` does not accept them for optional ones. */
export function omitUndefined<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}
