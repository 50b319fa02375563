import { z } from "zod";
import { type Message, messageSchema } from "./records.ts";

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
  ours: boolean;
  /** Whether a row with all `fields` is of this format. */
  matches: (row: Record<string, unknown>) => boolean;
  /** The records in a row, or why there is none (a string). Throws `ZodError` for a malformed row. */
  read: (row: unknown) => Draft[] | string;
}

/** The first that fits a row wins, so that the more telling ones stand first. */
const definitions: Format[] = [];

function define<T>(
  format: Pick<Format, "name" | "kind" | "fields"> & Partial<Pick<Format, "ours" | "matches">>,
  schema: z.ZodType<T>,
  read: (row: T) => Draft[] | string,
): void {
  definitions.push({ ours: true, matches: () => true, ...format, read: (row) => read(schema.parse(row)) });
}

const conversation = z.array(messageSchema).min(1);
const text = z.union([z.string(), conversation], { error: "expected a string or a list of {role, content}" });
const identifier = z.union([z.string(), z.number()]).transform(String).optional();
const rank = z.number();
const weight = z.number().min(0).optional();
const probability = z.number().min(0.5).max(1).optional();
const strength = z.int().min(1).max(4).optional();
const skill = z.string().optional();
const comment = z.string().optional();
const models = z.array(z.string().nullable()).optional();
type Text = z.infer<typeof text>;

const user = (content: string): Message => ({ role: "user", content });
const toPrompt = (value: Text): Message[] => (typeof value === "string" ? [user(value)] : value);

/** The reply in a completion column: the text, or the last message of a conversation. */
const toReply = (value: Text): string => (typeof value === "string" ? value : (value.at(-1)?.content ?? ""));

define(
  { name: "rankings", kind: "comparison", fields: ["prompt", "completions", "ranks"] },
  z
    .object({
      prompt: text,
      completions: z.array(text).min(2),
      ranks: z.array(rank),
      margins: z.number().optional(),
      weight,
      probability,
      labeler: identifier,
      comment,
      strength,
      models,
      skill,
    })
    .refine((row) => row.ranks.length === row.completions.length, {
      path: ["ranks"],
      error: "expected one rank per completion",
    }),
  ({ prompt, completions, ranks, ...rest }) => [
    { prompt: toPrompt(prompt), completions: completions.map(toReply), ranks, ...given(rest) },
  ],
);

define(
  { name: "UltraFeedback", kind: "comparison", fields: ["instruction", "completions"], ours: false },
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
      // A rating may be "N/A"; what is left of a completion's ratings still says how good it is.
      const ratings = Object.entries(annotations).flatMap(([criterion, { Rating }]) => {
        const rating = Number.parseFloat(Rating);
        return Number.isNaN(rating) ? [] : [[criterion, rating] as const];
      });
      const mean = ratings.reduce((sum, [, rating]) => sum + rating, 0) / ratings.length;
      return ratings.length === 0 ? [] : [{ response, model, ratings: new Map(ratings), rank: -mean }];
    });
    if (rated.length < 2) return "fewer than two rated completions";
    const ofAll = [...(rated[0]?.ratings.keys() ?? [])].filter((name) =>
      rated.every(({ ratings }) => ratings.has(name)),
    );
    const ratings = ofAll.map((name) => [name, rated.map((one) => one.ratings.get(name) as number)]);
    return [
      {
        prompt: [user(instruction)],
        completions: rated.map(({ response }) => response),
        ranks: denseRanks(rated.map(({ rank }) => rank)),
        ...given({
          ratings: ratings.length ? Object.fromEntries(ratings) : undefined,
          models: namedModels(rated),
        }),
      },
    ];
  },
);

define(
  { name: "OpenAI summarise", kind: "comparison", fields: ["info", "summaries", "choice"], ours: false },
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
        prompt: [user(parts.filter((part) => part !== "").join("\n\n"))],
        completions: summaries.map((summary) => summary.text.trim()),
        ranks: choice === 0 ? [0, 1] : [1, 0],
        ...given({
          labeler: worker,
          models: namedModels(summaries.map(({ policy = null }) => ({ model: policy }))),
        }),
      },
    ];
  },
);

interface Node {
  text: string;
  role: "prompter" | "assistant";
  rank?: number | null | undefined;
  deleted?: boolean | undefined;
  replies?: Node[] | undefined;
}
const node: z.ZodType<Node> = z.object({
  text: z.string(),
  role: z.enum(["prompter", "assistant"]),
  rank: rank.nullish(),
  deleted: z.boolean().optional(),
  get replies() {
    return z.array(node).optional();
  },
});
define(
  { name: "Open Assistant tree", kind: "comparison", fields: ["message_tree_id", "prompt"], ours: false },
  z.object({ prompt: node }),
  ({ prompt }) => {
    const groups = rankedGroups(prompt, []);
    return groups.length > 0 ? groups : "no ranked replies";
  },
);

/** One record for each prompter's message in the tree that has two or more ranked replies. */
function rankedGroups(message: Node, before: Message[]): Draft[] {
  const prompt = [...before, { role: roleOf(message), content: message.text }];
  const replies = message.replies ?? [];
  const ranked = replies.flatMap(({ role, text, rank, deleted }) =>
    role === "assistant" && typeof rank === "number" && !deleted ? [{ text, rank }] : [],
  );
  const group: Draft = { prompt, completions: ranked.map((r) => r.text), ranks: ranked.map((r) => r.rank) };
  return [...(ranked.length >= 2 ? [group] : []), ...replies.flatMap((reply) => rankedGroups(reply, prompt))];
}

const roleOf = ({ role }: Node): Message["role"] => (role === "prompter" ? "user" : "assistant");

define(
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

define(
  { name: "LLMBar", kind: "comparison", fields: ["input", "output_1", "output_2", "label"], ours: false },
  z.object({ input: z.string(), output_1: z.string(), output_2: z.string(), label: z.int().min(1).max(2) }),
  ({ input, output_1, output_2, label }) => [
    { prompt: [user(input)], completions: [output_1, output_2], ranks: label === 1 ? [0, 1] : [1, 0] },
  ],
);

const pairwise = z.object({
  type: z.literal("pairwise"),
  value: z.object({ selected: z.enum(["left", "right"]) }),
});
const completedBy = z
  .union([
    z.number().transform(String),
    z.string(),
    z.object({ email: z.string() }).transform(({ email }) => email),
  ])
  .optional()
  .catch(undefined);
define(
  { name: "Label Studio pairwise", kind: "comparison", fields: ["annotations", "data"], ours: false },
  z.object({
    annotations: z.array(
      z.object({
        completed_by: z.unknown(),
        was_cancelled: z.boolean().optional(),
        lead_time: z.number().nullish(),
        result: z.array(z.unknown()),
      }),
    ),
    data: z.object({ prompt: z.string() }).catchall(z.unknown()),
  }),
  ({ annotations, data: { prompt, ...rest } }) => {
    // The labelling interface is free to name the two answers; they stand left, right.
    const answers = Object.values(rest).filter((value) => typeof value === "string");
    if (answers.length !== 2) return "not a prompt and two answers";
    const drafts = annotations.flatMap(({ completed_by, was_cancelled, lead_time, result }): Draft[] => {
      const choice = result.map((entry) => pairwise.safeParse(entry)).find((entry) => entry.success);
      if (was_cancelled || !choice) return [];
      const ranks = choice.data.value.selected === "left" ? [0, 1] : [1, 0];
      // A number, or the whole user.
      const labeler = completedBy.parse(completed_by);
      const seconds = lead_time ?? undefined;
      return [{ prompt: [user(prompt)], completions: answers, ranks, ...given({ labeler, seconds }) }];
    });
    return drafts.length > 0 ? drafts : "no choice made";
  },
);

const answered = z.object({ value: z.unknown(), user_id: identifier });
const placed = z.array(z.object({ value: z.string(), rank: z.number() })).min(2);
define(
  { name: "Argilla", kind: "comparison", fields: ["fields", "responses"], ours: false },
  z.object({
    fields: z.record(z.string(), z.unknown()),
    responses: z.record(z.string(), z.array(answered)),
    metadata: z.object({ models }).catch({}).optional(),
  }),
  ({ fields, responses, metadata }) => {
    const [[, prompt] = [], ...others] = Object.entries(fields);
    const messages = conversationOf(prompt);
    const replies = others.flatMap(([name, value]) => (typeof value === "string" ? [{ name, value }] : []));
    if (!messages || replies.length < 2) return "not a prompt and two or more answers";
    const drafts = Object.values(responses)
      .flat()
      .flatMap(({ value, user_id }): Draft[] => {
        const ranks = placesOf(
          value,
          replies.map(({ name }) => name),
        );
        const completions = replies.map(({ value }) => value);
        return ranks
          ? [
              {
                prompt: messages,
                completions,
                ranks,
                ...given({ labeler: user_id, models: metadata?.models }),
              },
            ]
          : [];
      });
    return drafts.length > 0 ? drafts : "no ranking of the answers, nor a choice";
  },
);

/** Argilla's text field or chat field. */
function conversationOf(field: unknown): Message[] | undefined {
  if (typeof field === "string") return [user(field)];
  return conversation.safeParse(field).data;
}

/** The ranks that a response to a ranking question gives fields, or a label question's choice of one. */
function placesOf(value: unknown, fields: readonly string[]): number[] | undefined {
  const ranking = placed.safeParse(value).data;
  if (ranking) {
    const ranks = fields.map((field) => ranking.find((one) => one.value === field)?.rank);
    return ranks.every((rank) => rank !== undefined) ? ranks : undefined;
  }
  return typeof value === "string" && fields.includes(value)
    ? fields.map((field) => Number(field !== value))
    : undefined;
}

const pair = z.object({
  prompt: text.optional(),
  chosen: text,
  rejected: text,
  chosen_rating: z.number().optional(),
  rejected_rating: z.number().optional(),
  rating_chosen: z.number().optional(),
  rating_rejected: z.number().optional(),
  margin: z.number().optional(),
  weight,
  probability,
  labeler: identifier,
  comment,
  strength,
  models,
  skill,
});
const pairFormats: [name: string, fields: string[], matches?: Format["matches"]][] = [
  ["preference with ratings", ["chosen", "rejected", "chosen_rating", "rejected_rating"]],
  ["preference with ratings", ["chosen", "rejected", "rating_chosen", "rating_rejected"]],
  ["preference", ["prompt", "chosen", "rejected"]],
  ["hh-rlhf", ["chosen", "rejected"], (row) => String(row.chosen).startsWith(`\n\nHuman:`)],
  ["preference, implicit prompt", ["chosen", "rejected"]],
];
for (const [name, fields, matches] of pairFormats) {
  define({ name, kind: "comparison", fields, ...given({ matches }) }, pair, readPair);
}

function readPair(row: z.infer<typeof pair>): Draft[] | string {
  const good = row.chosen_rating ?? row.rating_chosen ?? 1;
  const bad = row.rejected_rating ?? row.rating_rejected ?? 0;
  if (good < bad) return "chosen is rated below rejected";
  // Many public sets repeat the prompt in `chosen` and `rejected` beside a `prompt` column: what holds it decides.
  const repeated = Array.isArray(row.chosen) && row.chosen.length > 1;
  const split =
    row.prompt === undefined || repeated
      ? splitImplicit(row.chosen, row.rejected)
      : { prompt: toPrompt(row.prompt), completions: [toReply(row.chosen), toReply(row.rejected)] };
  if (!split) return "differing prefixes";
  const ranks = good === bad ? [0, 0] : [0, 1];
  const { margin: margins, weight, probability, labeler, comment, strength, models, skill } = row;
  const rest = { margins, weight, probability, labeler, comment, strength, models, skill };
  return [{ ...split, ranks, ...given(rest) }];
}

/** The prompt that `chosen` and `rejected` both begin with; undefined where there is none. */
function splitImplicit(chosen: Text, rejected: Text): Pick<Draft, "prompt" | "completions"> | undefined {
  const [a, b] = [parseTranscript(chosen), parseTranscript(rejected)];
  if (typeof a === "string" && typeof b === "string") {
    let end = 0;
    while (end < a.length && a[end] === b[end]) end++;
    // Back to a word's end, as TRL does: "blue" and "black" share no "bl".
    const prompt = a.slice(0, Math.max(0, a.lastIndexOf(" ", end)));
    return prompt.trim() === ""
      ? undefined
      : { prompt: [user(prompt)], completions: [a, b].map((side) => side.slice(prompt.length).trim()) };
  }
  if (typeof a === "string" || typeof b === "string") return undefined;
  const prompt = a.slice(0, -1);
  const same = prompt.length > 0 && JSON.stringify(prompt) === JSON.stringify(b.slice(0, -1));
  const replies = a.at(-1)?.role === "assistant" && b.at(-1)?.role === "assistant";
  return same && replies ? { prompt, completions: [toReply(a), toReply(b)] } : undefined;
}

/** hh-rlhf's `\n\nHuman: … \n\nAssistant: …` as messages; anything else as it is. */
function parseTranscript(value: Text): Text {
  if (typeof value !== "string" || !value.startsWith("\n\nHuman:")) return value;
  const [, ...parts] = value.split(/\n\n(Human|Assistant):/);
  const messages: Message[] = [];
  for (let i = 0; i < parts.length; i += 2) {
    messages.push({
      role: parts[i] === "Human" ? "user" : "assistant",
      content: (parts[i + 1] ?? "").trim(),
    });
  }
  return messages;
}

define(
  { name: "prompt and completions", kind: "completions", fields: ["prompt", "completions"] },
  z.object({ prompt: text, completions: z.array(text).min(1), id: identifier, models, skill }),
  ({ prompt, completions, ...rest }) => [
    { prompt: toPrompt(prompt), completions: completions.map(toReply), ...given(rest) },
  ],
);

/** The criterion that thumbs are ratings of: 1 for up, 0 for down. */
export const thumb = "good";

define(
  { name: "unpaired", kind: "unpaired", fields: ["prompt", "completion", "label"] },
  z.object({ prompt: text, completion: text, label: z.boolean(), labeler: identifier }),
  ({ prompt, completion, label, labeler }) => [
    {
      prompt: toPrompt(prompt),
      completions: [toReply(completion)],
      ratings: { [thumb]: [Number(label)] },
      ...given({ labeler }),
    },
  ],
);

define(
  { name: "prompt-completion", kind: "demonstration", fields: ["prompt", "completion"] },
  z.object({ prompt: text, completion: text, labeler: identifier, comment, skill }),
  ({ prompt, completion, ...rest }) => [
    { prompt: toPrompt(prompt), completions: [toReply(completion)], ...given(rest) },
  ],
);

const round = z.object({ principle: z.string(), critique: z.string(), revision: z.string() });
define(
  { name: "revisions", kind: "demonstration", fields: ["prompt", "response", "rounds"] },
  z.object({
    prompt: text,
    response: z.string(),
    rounds: z.array(round),
    id: identifier,
    labeler: identifier,
  }),
  ({ prompt, response, rounds: all, ...rest }) => {
    // A round that wrote nothing changed nothing.
    const rounds = all
      .filter(({ revision }) => revision.trim() !== "")
      .map(({ principle, critique, revision }) => ({
        text: revision,
        comment: `${principle}: ${critique}`,
      }));
    const completions = [rounds.at(-1)?.text ?? response];
    return [{ prompt: toPrompt(prompt), completions, revisions: { from: response, rounds }, ...given(rest) }];
  },
);

define(
  { name: "messages", kind: "demonstration", fields: ["messages"] },
  z.object({ messages: conversation }),
  ({ messages }) => {
    const last = messages.findLastIndex((message) => message.role === "assistant");
    if (last < 0) return "no assistant message";
    return [{ prompt: messages.slice(0, last), completions: [messages[last]?.content ?? ""] }];
  },
);

define({ name: "text", kind: "text", fields: ["text"] }, z.object({ text: z.string() }), (row) => [
  { prompt: [], completions: [row.text] },
]);

define(
  { name: "prompt-only", kind: "prompt", fields: ["prompt"] },
  z.object({ prompt: text, id: identifier, skill }),
  ({ prompt, ...rest }) => [{ prompt: toPrompt(prompt), completions: [], ...given(rest) }],
);

/** The formats we read, the more telling ones first. */
export const formats: readonly Format[] = definitions;

/** Who wrote each, where any is known. */
const namedModels = (all: readonly { model: string | null }[]): (string | null)[] | undefined =>
  all.some(({ model }) => model !== null) ? all.map(({ model }) => model) : undefined;

/** 0 for the lowest number, 1 for the next, equal for equal. */
export function denseRanks(numbers: readonly number[]): number[] {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b);
  return numbers.map((number) => sorted.indexOf(number));
}

/** The object without its undefined values, which `exactOptionalPropertyTypes` keeps apart from absent ones. */
function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}
