import { InputError } from "../data/errors.ts";
import { groupBy } from "../statistics/groups.ts";
import { type ExportFormat, exportFormats } from "./export-formats.ts";
import { countedJudgements, type Judgement, readJudgements } from "./judgements.ts";
import type { Project } from "./records.ts";
import { parseAnswer } from "./settings.ts";
import { type LabelStore, RequestError } from "./store.ts";
import { labelerWeights } from "./weights.ts";
import { type Row, writers } from "./writers.ts";

/**
 * Finds a project among all of a store by id or name; the only one that is not archived if none is named.
 * @throws InputError if there is none, or several
 */
export function findProject<P extends { id: string; name: string; archived: boolean }>(
  all: readonly P[],
  idOrName: string | undefined,
): P {
  const list = all.map(({ name }) => `"${name}"`).join(", ") || "none";
  if (idOrName === undefined) {
    const [only, second] = all.filter(({ archived }) => !archived);
    if (!only || second) throw new InputError(`name the project (--project): this store has ${list}`);
    return only;
  }
  const matches = all.filter(({ id, name }) => id === idOrName || name === idOrName);
  if (matches.length > 1)
    throw new InputError(
      `several projects are called "${idOrName}": name one by its id (${matches.map(({ id }) => id).join(", ")})`,
    );
  const [project] = matches;
  if (!project) throw new InputError(`there is no project "${idOrName}"; this store has ${list}`);
  return project;
}

export interface ExportOptions {
  /** Adds a margin to each pair: 0 for slightly better to 3 for much better (Touvron et al. 2023, table 27). */
  margins?: boolean;
  /** Called with the reason for every task that the format cannot hold. */
  onDrop?: (reason: string) => void;
}

/** Yields a project's labels as rows of a format; the event log of the whole store for "log". */
export async function* exportRows(
  store: LabelStore,
  project: Project,
  format: ExportFormat,
  { margins = false, onDrop }: ExportOptions = {},
): AsyncGenerator<Record<string, unknown>> {
  if (format === "log") {
    yield* store.db.selectFrom("event").selectAll().orderBy("seq").stream();
    return;
  }
  for await (const [rows = []] of writeTasks(store, project, [format]))
    if (typeof rows === "string") onDrop?.(rows);
    else yield* margins ? rows.map(withMargin) : rows;
}

/**
 * Exports a project's labels as `exportRows` does, if there are any.
 * @throws RequestError (409) if there is no row, with the reasons
 */
export async function exportSomeRows(
  store: LabelStore,
  project: Project,
  format: ExportFormat,
  options: ExportOptions = {},
): Promise<AsyncGenerator<Record<string, unknown>>> {
  const dropped: string[] = [];
  const rows = exportRows(store, project, format, {
    ...options,
    onDrop: (reason) => {
      dropped.push(reason);
      options.onDrop?.(reason);
    },
  });
  const first = await rows.next();
  if (first.done) {
    const reasons = [...groupBy(dropped, (reason) => reason)];
    const why = reasons.map(([reason, { length }]) => `${length} tasks left out: ${reason}`).join("; ");
    throw new RequestError(
      409,
      `"${project.name}" has nothing to export as ${format}: ${why || "nobody has judged anything yet"}`,
    );
  }
  return (async function* () {
    yield first.value;
    yield* rows;
  })();
}

export interface ExportCount {
  format: ExportFormat;
  rows: number;
  /** Tasks that the format cannot hold, by reason. */
  dropped: Record<string, number>;
}

/** Counts the rows that each format but "log" would have, and the tasks that it would leave out. */
export async function countExports(store: LabelStore, project: Project): Promise<ExportCount[]> {
  const formats = exportFormats.filter((format) => format !== "log");
  const counts = formats.map((format): ExportCount => ({ format, rows: 0, dropped: {} }));
  for await (const rowsByFormat of writeTasks(store, project, formats))
    for (const [i, rows] of rowsByFormat.entries()) {
      const count = counts[i] as ExportCount;
      if (typeof rows === "string") count.dropped[rows] = (count.dropped[rows] ?? 0) + 1;
      else count.rows += rows.length;
    }
  return counts;
}

const noRows = "its judgements have nothing that the format can hold";

/** Yields for each judged task its rows in each format; a string says why it has none. */
async function* writeTasks(
  store: LabelStore,
  project: Project,
  formats: readonly Exclude<ExportFormat, "log">[],
): AsyncGenerator<(Row[] | string)[]> {
  const weighted = await readWeightedJudgements(store, project);
  const names = new Map((await store.users()).map(({ id, name }) => [id, name]));
  const training = groupBy(await trainingJudgements(store, project, weighted), ({ task }) => task);
  const byTask = groupBy(weighted, ({ task }) => task);
  for (const task of (formats.includes("judgements") ? byTask : training).keys()) {
    const content = await store.taskContent(task);
    yield formats.map((format) => {
      const used = (format === "judgements" ? byTask : training).get(task) ?? [];
      const judgements = used.map((judgement) => ({
        ...judgement,
        labeler: names.get(judgement.labeler) ?? judgement.labeler,
      }));
      const rows = writers[format]({ ...content, task, judgements });
      return used.length && !rows.length ? noRows : rows;
    });
  }
}

/** Collects all rows in an array, for encodings that cannot be streamed. */
export async function collect<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const row of rows) all.push(row);
  return all;
}

type WeightedJudgement = Judgement & { weight: number };

/** Reads a project's judgements, each with the weight of its labeler. */
async function readWeightedJudgements(store: LabelStore, project: Project): Promise<WeightedJudgement[]> {
  const all = await readJudgements(store, project.id);
  const weights = labelerWeights(all);
  return all.map((judgement) => ({ ...judgement, weight: weights.get(judgement.labeler) ?? 1 }));
}

/** Reads the judgements that exports for training have, with their weights. */
export const readTrainingJudgements = async (
  store: LabelStore,
  project: Project,
): Promise<WeightedJudgement[]> =>
  trainingJudgements(store, project, await readWeightedJudgements(store, project));

/** Selects the judgements to train on. A reviewer's decision replaces the judgements of its task, with weight 1. */
async function trainingJudgements(
  store: LabelStore,
  project: Project,
  all: readonly WeightedJudgement[],
): Promise<WeightedJudgement[]> {
  const decisions = await store.db
    .selectFrom("adjudication")
    .selectAll()
    .where("project", "=", project.id)
    .execute();
  const decisionByTask = new Map(decisions.map((decision) => [decision.task, decision]));
  return [...groupBy(countedJudgements(all), ({ task }) => task)].flatMap(([task, judgements]) => {
    const decision = decisionByTask.get(task);
    const [first] = judgements as [WeightedJudgement];
    if (!decision) return judgements;
    const answer = parseAnswer(decision.answer);
    return [{ ...first, id: task, labeler: decision.user, answer, at: decision.at, weight: 1 }];
  });
}

/** Adds the margin under the name that `readers.ts` expects: `margin` in a pair, `margins` in a ranking. */
function withMargin(row: Row): Row {
  if (typeof row.strength !== "number") return row;
  return { ...row, ["ranks" in row ? "margins" : "margin"]: row.strength - 1 };
}
