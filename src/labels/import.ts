import { createHash } from "node:crypto";
import { basename } from "node:path";
import type { Transaction } from "kysely";
import { InputError } from "../data/errors.ts";
import { type Draft, thumb } from "../data/formats/format.ts";
import type { DataReport } from "../data/readers.ts";
import type { Message } from "../data/records.ts";
import { shuffled } from "../data/split.ts";
import { groupBy } from "../statistics/groups.ts";
import { denseRanks } from "../statistics/numbers.ts";
import type { NewTask, Project } from "./records.ts";
import { type Answer, checkAnswer, type ProjectSettings, shuffleAnswer } from "./settings.ts";
import { type LabelStore, newId } from "./store.ts";
import type { Schema } from "./tables.ts";

export type Intake = Pick<DataReport, "format" | "rows" | "kept" | "dropped"> & {
  /** Judgements that came with the file. */
  judgements: number;
};

/** What a file says of who is better: known answers to measure labelers by, or what its labelers judged. */
export type Use = "gold" | "judgements";

/** A file as `readDrafts` gives it. */
interface File {
  drafts: Draft[];
  report: DataReport;
}

/** A task of the project, or one that the file makes, with what the file says of it. */
interface Found {
  id: string | undefined;
  made: NewTask;
  /** Its completions as they are, or will be, stored. */
  texts: string[];
  /** Names of who has judged it. */
  by: Set<string>;
  said: { labeler: string; answers: Answer[]; order: number[]; seconds: number }[];
}

/**
 * Makes tasks of a file's records: of comparisons, of prompts with completions, and for demonstrations of prompts alone.
 * What the file says of who is better is left out without `use`. All of it is taken, or nothing.
 */
export async function importTasks(
  store: LabelStore,
  actor: string | null,
  project: Project,
  { drafts, report }: File,
  use?: Use,
): Promise<Intake> {
  const { kind } = project.settings;
  const source = basename(report.file);
  const dropped = { ...report.dropped };
  const drop = (reason: string) => {
    dropped[reason] = (dropped[reason] ?? 0) + 1;
  };
  const found = await tasksOf(store, project.id);
  const sorted = drafts.every(({ ranks }) => ranks && isAscending(ranks));
  let kept = 0;
  for (const draft of drafts) {
    const { prompt: messages, ranks, labeler = source, seconds = 0 } = draft;
    const texts = kind === "demonstration" ? toEdit(draft, use) : draft.completions;
    const print = fingerprint(messages, texts);
    const before = found.get(print);
    const reason = unfit(kind, texts.length);
    const gold = use === "gold" ? goldOf(kind, ranks) : undefined;
    const answers = use === "judgements" ? answersOf(project.settings, draft) : undefined;
    if (reason) drop(reason);
    else if (before && !answers) drop("in the project already");
    else if (use === "gold" && !gold) drop("no known answer");
    else if (typeof answers === "string") drop(answers);
    else if (answers && before?.by.has(labeler)) drop("judged by this labeler already");
    else {
      // A file with the better one always first does not say how they were shown.
      const order = answers && sorted ? shuffled(texts.length, seedOf(print)) : texts.map((_, i) => i);
      const task: Found = before ?? {
        id: undefined,
        by: new Set(),
        said: [],
        texts: order.map((place) => texts[place] as string),
        made: {
          messages,
          source,
          gold,
          ...(draft.skill !== undefined && { skill: draft.skill }),
          completions: order.map((place) => completionOf(texts[place] as string, draft.models?.[place])),
        },
      };
      found.set(print, task);
      if (!before) kept++;
      if (answers) {
        const stored = task.texts.map((text) => texts.indexOf(text));
        const shown = texts.map((text) => task.texts.indexOf(text));
        task.by.add(labeler);
        task.said.push({
          labeler,
          seconds,
          answers: answers.map((answer) => shuffleAnswer(answer, stored)),
          order: sorted ? task.texts.map((_, i) => i) : shown,
        });
      }
    }
  }
  const judgements = await store.write((tx) => add(store, tx, actor, project, source, [...found.values()]));
  return { format: report.format, rows: report.rows, kept, judgements, dropped };
}

/** Criteria for a project that rates what is in a file: those that the file rates by, or one for all. */
export function rubricOf({ drafts }: File): ProjectSettings["rubric"] {
  const rated = drafts.flatMap(({ ratings }) => (ratings ? [ratings] : []));
  const criteria = [...new Set(rated.flatMap(Object.keys))];
  if (!criteria.length) return [{ name: "overall quality", low: 1, high: 7 }];
  return criteria.map((name) => {
    if (name === thumb) return { name, low: 0, high: 1 };
    const values = rated.flatMap((ratings) => ratings[name] ?? []);
    const most = values.reduce((a, b) => Math.max(a, b), 5);
    const least = values.reduce((a, b) => Math.min(a, b), 1);
    return { name, low: Math.floor(least), high: Math.ceil(most) };
  });
}

/** Adds what is new to the store. @returns how many judgements */
async function add(
  store: LabelStore,
  tx: Transaction<Schema>,
  actor: string | null,
  project: Project,
  source: string,
  found: readonly Found[],
): Promise<number> {
  const fresh = found.filter(({ id }) => id === undefined);
  const made = await store.addTasksIn(
    tx,
    actor,
    project,
    fresh.map(({ made }) => made),
  );
  const ids = new Map(fresh.map((one, i) => [one, made[i] as string]));
  const said = found.flatMap((one) =>
    one.said.map((judgement) => ({ ...judgement, task: one.id ?? (ids.get(one) as string) })),
  );
  const users = new Map<string, string>();
  for (const name of new Set(said.map(({ labeler }) => labeler))) {
    const user = await tx.selectFrom("user").select("id").where("name", "=", name).executeTakeFirst();
    const id = user?.id ?? (await store.addUserIn(tx, actor, { name, role: "labeler" }));
    users.set(name, id);
    await store.record(tx, actor, { type: "joined", project: project.id, user: id });
  }
  await store.record(
    tx,
    actor,
    ...said.flatMap(({ labeler, answers, ...one }) => {
      const made = answers.map((answer) => ({ id: newId(), answer }));
      return made.map((own, i) => {
        const before = made[i - 1];
        return {
          ...({ type: "judged", ...own, project: project.id } as const),
          labeler: users.get(labeler) as string,
          version: 0,
          seed: 0,
          repeat: false,
          source,
          ...one,
          ...(before && { revises: before.id }),
        };
      });
    }),
  );
  return said.reduce((sum, { answers }) => sum + answers.length, 0);
}

function unfit(kind: ProjectSettings["kind"], completions: number): string | undefined {
  if (kind === "pairwise" && completions !== 2) return "not two completions";
  if (kind === "ranking" && completions < 2) return "fewer than two completions";
  if (kind !== "demonstration" && !completions) return "no completion";
  return completions > 9 ? "more than nine completions" : undefined;
}

const completionOf = (text: string, model: string | null | undefined) => ({
  text,
  ...(typeof model === "string" && { model }),
});

const firstWins = ([first = 0, second = 0]: readonly number[]): boolean => first < second;

const isAscending = (ranks: readonly number[]): boolean =>
  ranks.every((rank, i) => i === 0 || rank >= (ranks[i - 1] as number));

function goldOf(kind: ProjectSettings["kind"], ranks: readonly number[] | undefined): NewTask["gold"] {
  if (!ranks) return undefined;
  if (kind === "pairwise")
    return ranks[0] === ranks[1] ? undefined : { preference: firstWins(ranks) ? 1 : 8 };
  return kind === "ranking" ? { ranks: fromOne(ranks) } : undefined;
}

/** The response that a demonstration's task begins with: what was revised, or what a file of responses gives. */
function toEdit({ revisions, completions }: Draft, use: Use | undefined): string[] {
  if (revisions) return [revisions.from];
  return use ? [] : completions.slice(0, 1);
}

/** What a record says, as answers that the project asks for, each in the place of the one before; or why it is none. */
function answersOf(settings: ProjectSettings, draft: Draft): Answer[] | string {
  const { revisions, ...last } = draft;
  if (!revisions || settings.kind !== "demonstration") {
    const answer = answerOf(settings, last);
    return typeof answer === "string" ? answer : [answer];
  }
  return revisions.rounds.length ? revisions.rounds : "nothing was revised";
}

/** What a record says, as an answer that the project asks for; or why it is none. */
function answerOf(settings: ProjectSettings, draft: Draft): Answer | string {
  const { ranks, ratings, completions, strength = 1, probability, comment } = draft;
  const asked = settings.rubric.flatMap(({ name }) => {
    const own = ratings?.[name];
    return own ? [[name, own] as const] : [];
  });
  const rated = asked.length ? { ratings: Object.fromEntries(asked) } : {};
  const answers: Record<ProjectSettings["kind"], () => Answer> = {
    ranking: () => ({ ...(ranks && { ranks: fromOne(ranks) }), ...rated }),
    // A file that does not say how much better says that it is better: slightly at least.
    pairwise: () => ({
      ...(ranks && ranks[0] !== ranks[1] && { preference: firstWins(ranks) ? 5 - strength : 4 + strength }),
      ...rated,
    }),
    rating: () => rated,
    demonstration: () => (completions[0] === undefined ? {} : { text: completions[0] }),
  };
  const said = answers[settings.kind]();
  if (!Object.keys(said).length) return "nothing is said of it";
  const isPreference = said.ranks !== undefined || said.preference !== undefined;
  const answer = {
    ...said,
    ...(isPreference && probability !== undefined && { probability }),
    ...(comment !== undefined && { comment }),
  };
  if (!asked.every(([, own]) => own.every(Number.isInteger))) return "ratings that are no whole numbers";
  try {
    checkAnswer(answer, settings, settings.kind === "demonstration" ? 0 : completions.length);
    return answer;
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
}

/** 1 for the best, 2 for the next, equal for equal. */
const fromOne = (ranks: readonly number[]): number[] => denseRanks(ranks).map((place) => place + 1);

/** Equal for the same completions to the same prompt, in whatever order. */
const fingerprint = (messages: readonly Message[], completions: readonly string[]): string =>
  JSON.stringify([messages, [...completions].sort()]);

const seedOf = (print: string): number => createHash("sha256").update(print).digest().readUInt32BE();

/** The project's tasks by their fingerprint. */
async function tasksOf(store: LabelStore, project: string): Promise<Map<string, Found>> {
  const tasks = await store.db
    .selectFrom("task")
    .innerJoin("prompt", "prompt.id", "task.prompt")
    .select(["task.id", "prompt.messages"])
    .where("task.project", "=", project)
    .execute();
  const completions = await store.db
    .selectFrom("completion")
    .innerJoin("task", "task.prompt", "completion.prompt")
    .select(["task.id", "completion.text"])
    .where("task.project", "=", project)
    .orderBy("completion.place")
    .execute();
  const judged = await store.db
    .selectFrom("judgement")
    .innerJoin("user", "user.id", "judgement.labeler")
    .select(["judgement.task", "user.name"])
    .where("judgement.project", "=", project)
    .execute();
  const texts = groupBy(completions, ({ id }) => id);
  const by = groupBy(judged, ({ task }) => task);
  return new Map(
    tasks.map(({ id, messages: stored }) => {
      const messages: Message[] = JSON.parse(stored);
      const own = (texts.get(id) ?? []).map(({ text }): string => JSON.parse(text));
      const names = new Set((by.get(id) ?? []).map(({ name }) => name));
      const made = { messages, completions: [] };
      return [fingerprint(messages, own), { id, made, texts: own, by: names, said: [] }];
    }),
  );
}
