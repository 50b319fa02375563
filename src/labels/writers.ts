import { type Draft, thumbCriterion } from "../data/formats/format.ts";
import { formats } from "../data/formats/index.ts";
import type { Message } from "../data/records.ts";
import { denseRanks, mean } from "../statistics/numbers.ts";
import type { ExportFormat } from "./export-formats.ts";
import { ranksFromRatings } from "./pairwise-preferences.ts";
import type { Answer } from "./settings.ts";

/** A task with its judgements. */
export interface LabelledTask {
  task: string;
  source: string | null;
  messages: Message[];
  completions: { text: string; model: string | null }[];
  judgements: ExportedJudgement[];
}

/** A judgement as it is exported, or a reviewer's decision in its place. */
export interface ExportedJudgement {
  id: string;
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

/** Converts a task to rows of a format; a string says why it has none. */
export type Writer = (task: LabelledTask) => Row[] | string;

const notReadBack =
  "importing it again would change it: the format has no place for its system message, turns, single completion, or a text with the format's own marks";

/** Writer of each format. Rows of other tools' formats are read back before they are written: see `lossless`. */
export const writers: Record<Exclude<ExportFormat, "log">, Writer> = {
  judgements: ({ messages, completions, task, judgements }) =>
    judgements.map(({ answer, order, seconds, at, repeat, gold = null, ...origin }) => ({
      prompt: messages,
      completions: completions.map(({ text }) => text),
      ...provenance(origin, task, completions),
      answer,
      order,
      seconds,
      at,
      repeat,
      gold,
    })),

  rankings: ({ messages, completions, task, judgements }) =>
    judgements.flatMap((judgement) => {
      const ranks = strictRanks(judgement.answer);
      if (!ranks) return [];
      const texts = completions.map(({ text }) => text);
      return [
        {
          prompt: messages,
          completions: texts,
          ranks,
          ...confidenceFields(judgement.answer),
          ...provenance(judgement, task, completions),
        },
      ];
    }),

  preference: ({ messages, completions, task, judgements }) =>
    preferencePairs(completions, judgements).map(({ judgement, better, worse }) => ({
      prompt: messages,
      chosen: assistantMessage(better.text),
      rejected: assistantMessage(worse.text),
      ...confidenceFields(judgement.answer),
      ...provenance(judgement, task, [better, worse]),
    })),

  "prompt-completion": ({ messages, completions, task, judgements }) =>
    judgements.flatMap((judgement) =>
      judgement.answer.text === undefined
        ? []
        : [
            {
              prompt: messages,
              completion: assistantMessage(judgement.answer.text),
              ...confidenceFields(judgement.answer),
              ...provenance(judgement, task, completions),
            },
          ],
    ),

  unpaired: ({ messages, completions, task, judgements }) =>
    judgements.flatMap((judgement) =>
      thumbLabels(judgement.answer, completions.length).flatMap((label, place) => {
        const completion = completions[place];
        if (label === undefined || !completion) return [];
        return [
          {
            prompt: messages,
            completion: assistantMessage(completion.text),
            label,
            ...provenance(judgement, task, [completion]),
          },
        ];
      }),
    ),

  "hh-rlhf": lossless("hh-rlhf", ({ messages, completions, judgements }) => {
    const turns = messages.map(
      ({ role, content }) => `\n\n${role === "user" ? "Human" : "Assistant"}: ${content}`,
    );
    const whole = (text: string) => `${turns.join("")}\n\nAssistant: ${text}`;
    return preferencePairs(completions, judgements).map(({ better, worse }) => ({
      chosen: whole(better.text),
      rejected: whole(worse.text),
    }));
  }),

  openai: lossless("OpenAI summarise", ({ messages, completions, task, source, judgements }) =>
    preferencePairs(completions, judgements).map(({ judgement, better, worse, swapped }) => ({
      info: { id: task, ...parseSummarisationPrompt(messages) },
      summaries: (swapped ? [worse, better] : [better, worse]).map(({ text, model }) => ({
        text,
        policy: model,
      })),
      choice: Number(swapped),
      worker: judgement.labeler,
      batch: source,
      split: "train",
      extra: {},
    })),
  ),

  "open-assistant": lossless("Open Assistant tree", ({ messages, completions, task, judgements }) => {
    const ranks = consensusRanks(judgements, completions.length);
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

  ultrafeedback: lossless("UltraFeedback", ({ messages, completions, source, judgements }) => {
    const criteria = [...new Set(judgements.flatMap(({ answer }) => Object.keys(answer.ratings ?? {})))];
    if (!criteria.length) return [];
    const rating = (criterion: string, place: number) =>
      mean(judgements.flatMap(({ answer }) => answer.ratings?.[criterion]?.[place] ?? []));
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

  "label-studio": lossless("Label Studio pairwise", ({ messages, completions, judgements }) => {
    const tasks = new Map<string, { data: Row; annotations: Row[]; predictions: Row[] }>();
    for (const { judgement, better, worse, swapped } of preferencePairs(completions, judgements)) {
      const [left, right] = swapped ? [worse, better] : [better, worse];
      const key = JSON.stringify([left.text, right.text]);
      const data = { prompt: messages.at(-1)?.content, answer1: left.text, answer2: right.text };
      const task = tasks.get(key) ?? { data, annotations: [] as Row[], predictions: [] };
      tasks.set(key, task);
      task.annotations.push({
        completed_by: /^\d{1,15}$/.test(judgement.labeler) ? Number(judgement.labeler) : judgement.labeler,
        was_cancelled: false,
        lead_time: judgement.seconds,
        result: [
          {
            id: judgement.id,
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

  argilla: lossless("Argilla", ({ task, messages, completions, source, judgements }) => {
    const [only, more] = messages;
    const name = (place: number) => `response-${place + 1}`;
    const ranking = judgements.flatMap(({ labeler, answer }) => {
      const ranks = strictRanks(answer);
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

/** Wraps a writer of another tool's format: a task is not written if reading its rows back would give other texts. */
function lossless(name: string, write: (task: LabelledTask) => Row[]): Writer {
  const format = formats.find((format) => format.name === name);
  const read = (row: Row): Draft[] => {
    const drafts = format?.read(row) ?? [];
    return typeof drafts === "string" ? [] : drafts;
  };
  return (task) => {
    const rows = write(task);
    const prompt = JSON.stringify(task.messages.map(trimmedMessage));
    const texts = new Set(task.completions.map(({ text }) => text.trim()));
    const hasSameTexts = (draft: Draft) =>
      JSON.stringify(draft.prompt.map(trimmedMessage)) === prompt &&
      draft.completions.every((text) => texts.has(text.trim()));
    const isLossless = (row: Row) => {
      const drafts = read(row);
      return drafts.length > 0 && drafts.every(hasSameTexts);
    };
    return rows.every(isLossless) ? rows : notReadBack;
  };
}

const trimmedMessage = ({ role, content }: Message) => [role, content.trim()];

const assistantMessage = (content: string) => [{ role: "assistant", content }];

/** Fields that say where a row comes from: labeler, weight, task, judgement and models. */
const provenance = (
  { labeler, weight, id }: Pick<ExportedJudgement, "labeler" | "weight" | "id">,
  task: string,
  completions: LabelledTask["completions"],
) => ({ labeler, weight, task, judgement: id, models: completions.map(({ model }) => model) });

/** Returns an answer's ranks of the completions; undefined if it has none, or all of them are tied. */
function strictRanks({ preference, bothBad, ranks, ratings = {} }: Answer): number[] | undefined {
  if (bothBad) return undefined;
  const chosen = preference === undefined ? undefined : preference < 5 ? [1, 2] : [2, 1];
  const allRanks = ranks ?? chosen ?? ranksFromRatings(ratings);
  return new Set(allRanks).size > 1 ? allRanks : undefined;
}

/** Fields that say how sure the preference is: `strength` from 1 (slightly) to 4 (much), `probability`, and `comment`. */
const confidenceFields = ({ preference, probability, comment }: Answer) => ({
  ...(preference !== undefined && { strength: Math.ceil(Math.abs(preference - 4.5)) }),
  ...(probability !== undefined && { probability }),
  ...(comment !== undefined && { comment }),
});

/** Lists the strict preferences of all judgements. `swapped`: the preferred completion is stored after the other one. */
function preferencePairs(completions: LabelledTask["completions"], judgements: readonly ExportedJudgement[]) {
  return judgements.flatMap((judgement) => {
    const ranks = strictRanks(judgement.answer) ?? [];
    return ranks.flatMap((best, i) =>
      ranks.flatMap((worst, j) => {
        const [better, worse] = [completions[i], completions[j]];
        return best < worst && better && worse ? [{ judgement, better, worse, swapped: i > j }] : [];
      }),
    );
  });
}

/**
 * Labels completions as good (true) or bad (false): by their thumb ratings, else the best ranked as good and the worst as
 * bad; all bad for "both are bad". Completions in between are undefined.
 */
function thumbLabels(answer: Answer, count: number): (boolean | undefined)[] {
  if (answer.bothBad) return new Array<boolean>(count).fill(false);
  const thumbs = answer.ratings?.[thumbCriterion];
  if (thumbs) return thumbs.map((rating) => rating > 0);
  const ranks = strictRanks(answer) ?? [];
  return ranks.map((rank) =>
    rank === Math.min(...ranks) ? true : rank === Math.max(...ranks) ? false : undefined,
  );
}

/** Ranks completions by their weighted mean rank over all judgements, 0 for the best; undefined without a ranking. */
function consensusRanks(judgements: readonly ExportedJudgement[], count: number): number[] | undefined {
  const ranked = judgements.flatMap(({ answer, weight }) => {
    const ranks = strictRanks(answer);
    return ranks ? [{ ranks, weight }] : [];
  });
  if (!ranked.length) return undefined;
  // If all labelers of the task have weight 0, they count equally.
  const trusted = ranked.filter(({ weight }) => weight > 0);
  const voters = trusted.length ? trusted : ranked.map(({ ranks }) => ({ ranks, weight: 1 }));
  return denseRanks(
    Array.from({ length: count }, (_, i) =>
      voters.reduce((sum, { ranks, weight }) => sum + weight * (ranks[i] as number), 0),
    ),
  );
}

/** Splits a summarisation prompt into the fields of OpenAI's comparisons. Inverse of the reader in `formats/openai.ts`. */
function parseSummarisationPrompt(messages: readonly Message[]): Row {
  const content = messages.at(-1)?.content ?? "";
  const parts = /^(?:SUBREDDIT: r\/(.*)\n\n)?(?:TITLE: (.*)\n\n)?POST: ([\s\S]*)\n\nTL;DR:$/.exec(content);
  if (!parts) return { article: content.replace(/\n\nTL;DR:$/, "") };
  const [, subreddit = null, title = null, post] = parts;
  return { post, title, subreddit };
}
