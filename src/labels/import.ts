import { createHash } from "node:crypto";
import { basename } from "node:path";
import type { Transaction } from "kysely";
import { InputError } from "../data/errors.ts";
import { type Draft, thumbCriterion } from "../data/formats/format.ts";
import type { DataReport } from "../data/readers.ts";
import type { Message } from "../data/records.ts";
import { shuffled } from "../data/split.ts";
import { groupBy } from "../statistics/groups.ts";
import { denseRanks } from "../statistics/numbers.ts";
import type { NewEvent } from "./events.ts";
import { isAlike } from "./names.ts";
import type { NewTask, Project } from "./records.ts";
import { type Answer, checkAnswer, type ProjectSettings, permuteAnswer } from "./settings.ts";
import { type LabelStore, newId } from "./store.ts";
import type { Schema } from "./tables.ts";

export type ImportReport = Pick<DataReport, "format" | "rows" | "kept" | "dropped" | "examples"> & {
  /** Number of imported judgements. */
  judgements: number;
};

/** How a file's preferences are imported: as known answers (gold), which labelers are measured by, or as judgements. */
export type PreferenceUse = "gold" | "judgements";

/** The result of `readDrafts`. */
interface DraftFile {
  drafts: Draft[];
  report: DataReport;
}

/** A task that is in the project already, or that the file adds, with the file's judgements of it. */
interface ImportTask {
  /** Undefined for a task that the file adds. */
  id: string | undefined;
  newTask: NewTask;
  /** Completions in stored order. */
  texts: string[];
  /** Names of the labelers who have judged it. */
  labelers: Set<string>;
  judgements: { labeler: string; answers: Answer[]; order: number[]; seconds: number }[];
}

/**
 * Imports a file's records as tasks: comparisons, prompts with completions and, in a project of demonstrations, prompts
 * alone. Either all of the file is imported, or nothing.
 * @param use how the file's preferences are imported. Default: they are left out
 * @throws InputError if no record makes a task or a judgement, unless all are in the project already
 */
export async function importTasks(
  store: LabelStore,
  actor: string | null,
  project: Project,
  file: DraftFile,
  use?: PreferenceUse,
): Promise<ImportReport> {
  const { tasks, added, dropped } = planImport(
    project.settings,
    file,
    use,
    await readTasks(store, project.id),
  );
  const source = basename(file.report.file);
  const judgements = await store.write((tx) =>
    insertTasksAndJudgements(store, tx, actor, project, source, tasks),
  );
  const { format, rows, examples } = file.report;
  return { format, rows, kept: added, judgements, dropped, examples };
}

const existingTask = "in the project already";
const existingJudgement = "judged by this labeler already";

/**
 * Makes the tasks of a file's records, without storing them.
 * @param tasks the project's tasks by fingerprint, to which judgements are added
 * @throws InputError as `importTasks`
 */
export function planImport(
  settings: ProjectSettings,
  { drafts, report }: DraftFile,
  use?: PreferenceUse,
  tasks = new Map<string, ImportTask>(),
): { tasks: ImportTask[]; added: number; dropped: Record<string, number> } {
  const { kind } = settings;
  const source = basename(report.file);
  const dropped = { ...report.dropped };
  const drop = (reason: string) => {
    dropped[reason] = (dropped[reason] ?? 0) + 1;
  };
  const isAlwaysSorted = drafts.every(({ ranks }) => ranks && isAscending(ranks));
  let added = 0;
  for (const draft of drafts) {
    const { prompt: messages, ranks, labeler = source, seconds = 0 } = draft;
    const texts = kind === "demonstration" ? initialResponse(draft, use) : draft.completions;
    const key = fingerprint(messages, texts);
    const existing = tasks.get(key);
    const reason = reasonToDrop(kind, texts.length);
    // If every row has the better completion first, the file's order would tell who adjudicates which one it prefers.
    const order = isAlwaysSorted ? shuffled(texts.length, seedFromFingerprint(key)) : texts.map((_, i) => i);
    const orderedRanks = ranks && order.map((place) => ranks[place] as number);
    const gold = use === "gold" ? toGoldAnswer(kind, orderedRanks) : undefined;
    const answers = use === "judgements" ? toAnswers(settings, draft) : undefined;
    if (reason) drop(reason);
    else if (existing && !answers) drop(existingTask);
    else if (use === "gold" && !gold) drop("no known answer");
    else if (typeof answers === "string") drop(answers);
    else if (answers && existing?.labelers.has(labeler)) drop(existingJudgement);
    else {
      const task: ImportTask = existing ?? {
        id: undefined,
        labelers: new Set(),
        judgements: [],
        texts: order.map((place) => texts[place] as string),
        newTask: {
          messages,
          source,
          gold,
          ...(draft.skill !== undefined && { skill: draft.skill }),
          completions: order.map((place) => toNewCompletion(texts[place] as string, draft.models?.[place])),
        },
      };
      tasks.set(key, task);
      if (!existing) added++;
      if (answers) {
        const storedOrder = task.texts.map((text) => texts.indexOf(text));
        const shownOrder = texts.map((text) => task.texts.indexOf(text));
        task.labelers.add(labeler);
        task.judgements.push({
          labeler,
          seconds,
          answers: answers.map((answer) => permuteAnswer(answer, storedOrder)),
          order: isAlwaysSorted ? task.texts.map((_, i) => i) : shownOrder,
        });
      }
    }
  }
  const planned = [...tasks.values()];
  const isRepeated = existingTask in dropped || existingJudgement in dropped;
  if (!added && !isRepeated && !planned.some(({ judgements }) => judgements.length)) {
    const reasons = Object.entries(dropped).map(([reason, count]) => `${count} ${reason}`);
    throw new InputError(
      `${report.file}: no row can be imported into a project of kind ${kind}: ${reasons.join(", ")}`,
    );
  }
  return { tasks: planned, added, dropped };
}

/** Derives a rating project's rubric from a file: the criteria that it has ratings of, or "overall quality". */
export function inferRubric({ drafts }: DraftFile): ProjectSettings["rubric"] {
  const rated = drafts.flatMap(({ ratings }) => (ratings ? [ratings] : []));
  const criteria = [...new Set(rated.flatMap(Object.keys))];
  if (!criteria.length) return [{ name: "overall quality", low: 1, high: 7 }];
  return criteria.map((name) => {
    if (name === thumbCriterion) return { name, low: 0, high: 1 };
    const values = rated.flatMap((ratings) => ratings[name] ?? []);
    const highest = values.reduce((a, b) => Math.max(a, b), 5);
    const lowest = values.reduce((a, b) => Math.min(a, b), 1);
    return { name, low: Math.floor(lowest), high: Math.ceil(highest) };
  });
}

/** Records new tasks, their labelers and judgements. @returns the number of judgements */
async function insertTasksAndJudgements(
  store: LabelStore,
  tx: Transaction<Schema>,
  actor: string | null,
  project: Project,
  source: string,
  tasks: readonly ImportTask[],
): Promise<number> {
  const newTasks = tasks.filter(({ id }) => id === undefined);
  const fileId = newId();
  if (newTasks.length || tasks.some(({ judgements }) => judgements.length))
    await store.record(tx, actor, { type: "imported", project: project.id, id: fileId, source });
  const newIds = await store.addTasksInTransaction(
    tx,
    actor,
    project,
    newTasks.map(({ newTask }) => ({ ...newTask, import: fileId })),
  );
  const idOfNewTask = new Map(newTasks.map((task, i) => [task, newIds[i] as string]));
  const judgements = tasks.flatMap((task) =>
    task.judgements.map((judgement) => ({
      ...judgement,
      task: task.id ?? (idOfNewTask.get(task) as string),
    })),
  );
  const accounts = await tx
    .selectFrom("credential")
    .innerJoin("user", "user.id", "credential.user")
    .select("user.name")
    .execute();
  const userIds = new Map<string, string>();
  for (const labeler of new Set(judgements.map(({ labeler }) => labeler))) {
    // A person's account is not used: what a file says of somebody of the same name is not theirs.
    const isAccount = accounts.some(({ name }) => isAlike(name, labeler));
    const name = isAccount ? `${labeler} (imported)` : labeler;
    userIds.set(labeler, await importedLabeler(store, tx, actor, project.id, name));
  }
  // They are recorded at the same time, and such judgements are ordered by id: so ids ascend in the file's order.
  const sortedIds = judgements.flatMap(({ answers }) => answers.map(newId)).sort();
  let used = 0;
  const events = judgements.flatMap(({ labeler, answers, task, order, seconds }) => {
    const ids = sortedIds.slice(used, used + answers.length);
    used += ids.length;
    return answers.map((answer, i): NewEvent => {
      const revises = ids[i - 1];
      return {
        type: "judged",
        id: ids[i] as string,
        answer,
        project: project.id,
        labeler: userIds.get(labeler) as string,
        version: 0,
        seed: 0,
        repeat: false,
        source,
        import: fileId,
        task,
        order,
        seconds,
        ...(revises !== undefined && { revises }),
      };
    });
  });
  await store.record(tx, actor, ...events);
  return events.length;
}

/** Finds or adds the user that a file's labeler becomes. @returns the user's id */
async function importedLabeler(
  store: LabelStore,
  tx: Transaction<Schema>,
  actor: string | null,
  project: string,
  name: string,
): Promise<string> {
  const user = await tx.selectFrom("user").select("id").where("name", "=", name).executeTakeFirst();
  if (user) return user.id;
  const id = await store.addUserInTransaction(tx, actor, { name, role: "labeler" }, { isImported: true });
  // A file gives nobody who is known access to the project, and changes no member's role.
  await store.record(tx, actor, { type: "joined", project, user: id, role: "labeler" });
  return id;
}

/** Says why a record cannot be a task of the project; undefined if it can. */
function reasonToDrop(kind: ProjectSettings["kind"], completions: number): string | undefined {
  if (kind === "pairwise" && completions !== 2) return "not two completions";
  if (kind === "ranking" && completions < 2) return "fewer than two completions";
  if (kind !== "demonstration" && !completions) return "no completion";
  return completions > 9 ? "more than nine completions" : undefined;
}

const toNewCompletion = (text: string, model: string | null | undefined) => ({
  text,
  ...(typeof model === "string" && { model }),
});

const isFirstPreferred = ([first = 0, second = 0]: readonly number[]): boolean => first < second;

/** Whether completions are ordered from best to worst. */
const isAscending = (ranks: readonly number[]): boolean =>
  ranks.every((rank, i) => i === 0 || rank >= (ranks[i - 1] as number));

function toGoldAnswer(kind: ProjectSettings["kind"], ranks: readonly number[] | undefined): NewTask["gold"] {
  if (!ranks) return undefined;
  if (kind === "pairwise")
    return ranks[0] === ranks[1] ? undefined : { preference: isFirstPreferred(ranks) ? 1 : 8 };
  return kind === "ranking" ? { ranks: toDenseRanks(ranks) } : undefined;
}

/** Returns the response that the labeler edits: the one that was revised, or the file's completion. */
function initialResponse({ revisions, completions }: Draft, use: PreferenceUse | undefined): string[] {
  if (revisions) return [revisions.from];
  return use ? [] : completions.slice(0, 1);
}

/** Converts a record to answers of the project's kind, each a revision of the one before; a string says why it has none. */
function toAnswers(settings: ProjectSettings, draft: Draft): Answer[] | string {
  const { revisions, ...record } = draft;
  if (!revisions || settings.kind !== "demonstration") {
    const answer = toAnswer(settings, record);
    return typeof answer === "string" ? answer : [answer];
  }
  return revisions.rounds.length ? revisions.rounds : "nothing was revised";
}

/** Converts a record to an answer of the project's kind; a string says why it has none. */
function toAnswer(settings: ProjectSettings, draft: Draft): Answer | string {
  const { ranks, ratings, completions, strength = 1, probability, comment } = draft;
  const ratingEntries = settings.rubric.flatMap(({ name }) => {
    const values = ratings?.[name];
    return values ? [[name, values] as const] : [];
  });
  const rated = ratingEntries.length ? { ratings: Object.fromEntries(ratingEntries) } : {};
  const answers: Record<ProjectSettings["kind"], () => Answer> = {
    ranking: () => ({ ...(ranks && { ranks: toDenseRanks(ranks) }), ...rated }),
    // A preference without a strength counts as "slightly better".
    pairwise: () => ({
      ...(ranks &&
        ranks[0] !== ranks[1] && { preference: isFirstPreferred(ranks) ? 5 - strength : 4 + strength }),
      ...rated,
    }),
    rating: () => rated,
    demonstration: () => (completions[0] === undefined ? {} : { text: completions[0] }),
  };
  const judged = answers[settings.kind]();
  if (!Object.keys(judged).length) return "no preference, rating or text that the project asks for";
  const isPreference = judged.ranks !== undefined || judged.preference !== undefined;
  const answer = {
    ...judged,
    ...(isPreference && probability !== undefined && { probability }),
    ...(comment !== undefined && { comment }),
  };
  if (!ratingEntries.every(([, values]) => values.every(Number.isInteger)))
    return "ratings that are no whole numbers";
  try {
    checkAnswer(answer, settings, settings.kind === "demonstration" ? 0 : completions.length);
    return answer;
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
}

/** Ranks from 1 (best) without gaps; ties stay ties. */
const toDenseRanks = (ranks: readonly number[]): number[] => denseRanks(ranks).map((rank) => rank + 1);

/** Identifies a task by its prompt and completions, whatever their order. */
const fingerprint = (messages: readonly Message[], completions: readonly string[]): string =>
  JSON.stringify([messages, [...completions].sort()]);

const seedFromFingerprint = (key: string): number => createHash("sha256").update(key).digest().readUInt32BE();

/** Reads the project's tasks without withdrawn ones, which can be imported again, keyed by fingerprint. */
export async function readTasks(store: LabelStore, project: string): Promise<Map<string, ImportTask>> {
  const tasks = await store.db
    .selectFrom("task")
    .innerJoin("prompt", "prompt.id", "task.prompt")
    .select(["task.id", "prompt.messages"])
    .where("task.project", "=", project)
    .where("task.withdrawn", "=", 0)
    .execute();
  const completions = await store.db
    .selectFrom("completion")
    .innerJoin("task", "task.prompt", "completion.prompt")
    .select(["task.id", "completion.text"])
    .where("task.project", "=", project)
    .orderBy("completion.place")
    .execute();
  const judgements = await store.db
    .selectFrom("judgement")
    .innerJoin("user", "user.id", "judgement.labeler")
    .select(["judgement.task", "user.name"])
    .where("judgement.project", "=", project)
    .where("judgement.current", "=", 1)
    .execute();
  const completionsByTask = groupBy(completions, ({ id }) => id);
  const judgementsByTask = groupBy(judgements, ({ task }) => task);
  return new Map(
    tasks.map(({ id, messages: stored }) => {
      const messages: Message[] = JSON.parse(stored);
      const texts = (completionsByTask.get(id) ?? []).map(({ text }): string => JSON.parse(text));
      const labelers = new Set((judgementsByTask.get(id) ?? []).map(({ name }) => name));
      const newTask = { messages, completions: [] };
      return [fingerprint(messages, texts), { id, newTask, texts, labelers, judgements: [] }];
    }),
  );
}
