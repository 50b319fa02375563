import { type Draft, thumb } from "../data/formats/format.ts";
import { formats } from "../data/formats/index.ts";
import type { Message } from "../data/records.ts";
import { denseRanks, mean } from "../statistics/numbers.ts";
import type { ExportFormat } from "./export-formats.ts";
import { ranksOf } from "./pairwise-preferences.ts";
import type { Answer } from "./settings.ts";

/** A task with what is said of it. */
export interface Labelled {
  task: string;
  source: string | null;
  messages: Message[];
  completions: { text: string; model: string | null }[];
  said: Said[];
}

/** A judgement, or a reviewer's decision, as it is learned from. */
export interface Said {
  judgement: string;
  /** The labeler's name. */
  labeler: string;
  weight: number;
  answer: Answer;
  order: number[];
  seconds: number;
  at: number;
  repeat: boolean;
  gold: Answer | undefined;
}

export type Row = Record<string, unknown>;

/** A task's rows in a format, or why there are none. */
export type Writer = (labelled: Labelled) => Row[] | string;

const nothing = "nothing is said that the format can hold";
const lossy =
  "it would not read back the same: the format has no place for its system message, turns, single completion, or a text with the format's own marks";

/** For each format what writes it. Those of other tools are read back to see that nothing of the texts is lost. */
export const writers: Record<Exclude<ExportFormat, "log">, Writer> = {
  judgements: ({ messages, completions, task, said }) =>
    said.map(({ answer, order, seconds, at, repeat, gold = null, ...one }) => ({
      prompt: messages,
      completions: completions.map(({ text }) => text),
      ...provenance(one, task, completions),
      answer,
      order,
      seconds,
      at,
      repeat,
      gold,
    })),

  rankings: ({ messages, completions, task, said }) =>
    said.flatMap((one) => {
      const ranks = ranksIn(one.answer);
      if (!ranks) return [];
      const texts = completions.map(({ text }) => text);
      return [
        {
          prompt: messages,
          completions: texts,
          ranks,
          ...sureness(one.answer),
          ...provenance(one, task, completions),
        },
      ];
    }),

  preference: ({ messages, completions, task, said }) =>
    pairs(completions, said).map(({ one, better, worse }) => ({
      prompt: messages,
      chosen: reply(better.text),
      rejected: reply(worse.text),
      ...sureness(one.answer),
      ...provenance(one, task, [better, worse]),
    })),

  "prompt-completion": ({ messages, completions, task, said }) =>
    said.flatMap((one) =>
      one.answer.text === undefined
        ? []
        : [
            {
              prompt: messages,
              completion: reply(one.answer.text),
              ...sureness(one.answer),
              ...provenance(one, task, completions),
            },
          ],
    ),

  unpaired: ({ messages, completions, task, said }) =>
    said.flatMap((one) =>
      thumbs(one.answer, completions.length).flatMap((label, place) => {
        const completion = completions[place];
        if (label === undefined || !completion) return [];
        return [
          {
            prompt: messages,
            completion: reply(completion.text),
            label,
            ...provenance(one, task, [completion]),
          },
        ];
      }),
    ),

  "hh-rlhf": foreign("hh-rlhf", ({ messages, completions, said }) => {
    const turns = messages.map(
      ({ role, content }) => `\n\n${role === "user" ? "Human" : "Assistant"}: ${content}`,
    );
    const whole = (text: string) => `${turns.join("")}\n\nAssistant: ${text}`;
    return pairs(completions, said).map(({ better, worse }) => ({
      chosen: whole(better.text),
      rejected: whole(worse.text),
    }));
  }),

  openai: foreign("OpenAI summarise", ({ messages, completions, task, source, said }) =>
    pairs(completions, said).map(({ one, better, worse, swapped }) => ({
      info: { id: task, ...postOf(messages) },
      summaries: (swapped ? [worse, better] : [better, worse]).map(({ text, model }) => ({
        text,
        policy: model,
      })),
      choice: Number(swapped),
      worker: one.labeler,
      batch: source,
      split: "train",
      extra: {},
    })),
  ),

  "open-assistant": foreign("Open Assistant tree", ({ messages, completions, task, said }) => {
    const ranks = consensus(said, completions.length);
    if (!ranks) return [];
    const node = (place: number, role: Message["role"], text: string, more: Row): Row => ({
      message_id: `${task}-${place}`,
      parent_id: place ? `${task}-${place - 1}` : null,
      text,
      role: role === "user" ? "prompter" : "assistant",
      ...more,
    });
    const last = messages.length;
    const replies = completions.map(({ text, model }, i) => ({
      ...node(last, "assistant", text, { rank: ranks[i], synthetic: model !== null, replies: [] }),
      message_id: `${task}-${last}-${i}`,
    }));
    const prompt = messages.reduceRight<Row[]>(
      (below, { role, content }, place) => [node(place, role, content, { replies: below })],
      replies,
    )[0];
    return [{ message_tree_id: task, tree_state: "ready_for_export", prompt }];
  }),

  ultrafeedback: foreign("UltraFeedback", ({ messages, completions, source, said }) => {
    const criteria = [...new Set(said.flatMap(({ answer }) => Object.keys(answer.ratings ?? {})))];
    if (!criteria.length) return [];
    const rating = (criterion: string, place: number) =>
      mean(said.flatMap(({ answer }) => answer.ratings?.[criterion]?.[place] ?? []));
    const annotations = (place: number) =>
      Object.fromEntries(
        criteria.map((name) => [name, { Rating: String(rating(name, place)), Rationale: "" }]),
      );
    return [
      {
        source,
        instruction: messages.at(-1)?.content,
        models: completions.map(({ model }) => model),
        completions: completions.map(({ text, model }, i) => ({
          model,
          response: text,
          annotations: annotations(i),
        })),
      },
    ];
  }),

  "label-studio": foreign("Label Studio pairwise", ({ messages, completions, said }) => {
    const tasks = new Map<string, { data: Row; annotations: Row[]; predictions: Row[] }>();
    for (const { one, better, worse, swapped } of pairs(completions, said)) {
      const [left, right] = swapped ? [worse, better] : [better, worse];
      const key = JSON.stringify([left.text, right.text]);
      const data = { prompt: messages.at(-1)?.content, answer1: left.text, answer2: right.text };
      const task = tasks.get(key) ?? { data, annotations: [] as Row[], predictions: [] };
      tasks.set(key, task);
      task.annotations.push({
        completed_by: /^\d{1,15}$/.test(one.labeler) ? Number(one.labeler) : one.labeler,
        was_cancelled: false,
        lead_time: one.seconds,
        result: [
          {
            id: one.judgement,
            type: "pairwise",
            from_name: "comparison",
            to_name: "comparison",
            value: { selected: swapped ? "right" : "left" },
          },
        ],
      });
    }
    return [...tasks.values()];
  }),

  argilla: foreign("Argilla", ({ task, messages, completions, source, said }) => {
    const [only, more] = messages;
    const name = (place: number) => `response-${place + 1}`;
    const ranking = said.flatMap(({ labeler, answer }) => {
      const ranks = ranksIn(answer);
      if (!ranks) return [];
      return [{ value: ranks.map((rank, i) => ({ value: name(i), rank })), user_id: labeler }];
    });
    if (!ranking.length) return [];
    const answers = Object.fromEntries(completions.map(({ text }, i) => [name(i), text]));
    return [
      {
        id: task,
        fields: { prompt: more || only?.role !== "user" ? messages : only.content, ...answers },
        metadata: { source, models: completions.map(({ model }) => model) },
        suggestions: {},
        responses: { ranking },
        vectors: {},
      },
    ];
  }),
};

/** A writer of another tool's format: what would not read back as the same texts is not written. */
function foreign(name: string, write: (labelled: Labelled) => Row[]): Writer {
  const format = formats.find((one) => one.name === name);
  const read = (row: Row): Draft[] => {
    const drafts = format?.read(row) ?? [];
    return typeof drafts === "string" ? [] : drafts;
  };
  return (labelled) => {
    const rows = write(labelled);
    if (!rows.length) return nothing;
    const prompt = JSON.stringify(labelled.messages.map(trimmed));
    const texts = new Set(labelled.completions.map(({ text }) => text.trim()));
    const same = (draft: Draft) =>
      JSON.stringify(draft.prompt.map(trimmed)) === prompt &&
      draft.completions.every((text) => texts.has(text.trim()));
    const whole = (row: Row) => {
      const drafts = read(row);
      return drafts.length > 0 && drafts.every(same);
    };
    return rows.every(whole) ? rows : lossy;
  };
}

const trimmed = ({ role, content }: Message) => [role, content.trim()];

const reply = (content: string) => [{ role: "assistant", content }];

const provenance = (
  { labeler, weight, judgement }: Pick<Said, "labeler" | "weight" | "judgement">,
  task: string,
  completions: Labelled["completions"],
) => ({ labeler, weight, task, judgement, models: completions.map(({ model }) => model) });

/** Ranks that tell completions apart; undefined where an answer has none. */
function ranksIn({ preference, bothBad, ranks, ratings = {} }: Answer): number[] | undefined {
  if (bothBad) return undefined;
  const chosen = preference === undefined ? undefined : preference < 5 ? [1, 2] : [2, 1];
  const found = ranks ?? chosen ?? ranksOf(ratings);
  return new Set(found).size > 1 ? found : undefined;
}

/** How much better the better one is, 1 (slightly) to 4 (much); how likely that is; and why. */
const sureness = ({ preference, probability, comment }: Answer) => ({
  ...(preference !== undefined && { strength: Math.ceil(Math.abs(preference - 4.5)) }),
  ...(probability !== undefined && { probability }),
  ...(comment !== undefined && { comment }),
});

/** Every two completions that a judgement prefers one of; `swapped` when the better one is stored behind the worse. */
function pairs(completions: Labelled["completions"], said: readonly Said[]) {
  return said.flatMap((one) => {
    const ranks = ranksIn(one.answer) ?? [];
    return ranks.flatMap((best, i) =>
      ranks.flatMap((worst, j) => {
        const [better, worse] = [completions[i], completions[j]];
        return best < worst && better && worse ? [{ one, better, worse, swapped: i > j }] : [];
      }),
    );
  });
}

/** Up or down as rated so; else up for the best completion and down for the worst, or down for all that are bad. */
function thumbs(answer: Answer, count: number): (boolean | undefined)[] {
  if (answer.bothBad) return new Array<boolean>(count).fill(false);
  const up = answer.ratings?.[thumb];
  if (up) return up.map((rating) => rating > 0);
  const ranks = ranksIn(answer) ?? [];
  return ranks.map((rank) =>
    rank === Math.min(...ranks) ? true : rank === Math.max(...ranks) ? false : undefined,
  );
}

/** Places of completions, 0 for the best, by their weighted mean rank. */
function consensus(said: readonly Said[], count: number): number[] | undefined {
  const ranked = said.flatMap(({ answer, weight }) => {
    const ranks = ranksIn(answer);
    return ranks ? [{ ranks, weight }] : [];
  });
  if (!ranked.length) return undefined;
  // Labelers who count for nothing still decide what nobody else has seen.
  const trusted = ranked.filter(({ weight }) => weight > 0);
  const voters = trusted.length ? trusted : ranked.map((one) => ({ ...one, weight: 1 }));
  return denseRanks(
    Array.from({ length: count }, (_, i) =>
      voters.reduce((sum, { ranks, weight }) => sum + weight * (ranks[i] as number), 0),
    ),
  );
}

/** A prompt in the form that OpenAI's comparisons are read into, taken apart. */
function postOf(messages: readonly Message[]): Row {
  const content = messages.at(-1)?.content ?? "";
  const parts = /^(?:SUBREDDIT: r\/(.*)\n\n)?(?:TITLE: (.*)\n\n)?POST: ([\s\S]*)\n\nTL;DR:$/.exec(content);
  if (!parts) return { article: content.replace(/\n\nTL;DR:$/, "") };
  const [, subreddit = null, title = null, post] = parts;
  return { post, title, subreddit };
}
