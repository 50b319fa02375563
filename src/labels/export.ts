import { InputError } from "../data/errors.ts";
import { groupBy } from "../statistics/groups.ts";
import type { ExportFormat } from "./export-formats.ts";
import { countedJudgements, type Judgement, readJudgements } from "./judgements.ts";
import type { Project } from "./records.ts";
import { parseAnswer } from "./settings.ts";
import type { LabelStore } from "./store.ts";
import { labelerWeights } from "./weights.ts";
import { type Row, writers } from "./writers.ts";

/** Finds a project by id or name; the only one if none is named. @throws InputError if there is none, or several */
export async function findProject(store: LabelStore, idOrName: string | undefined): Promise<Project> {
  const all = await store.projects();
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
  const all = await readJudgements(store, project.id);
  const weights = labelerWeights(all);
  const weighted = all.map((judgement) => ({ ...judgement, weight: weights.get(judgement.labeler) ?? 1 }));
  const names = new Map((await store.users()).map(({ id, name }) => [id, name]));
  const exported = format === "judgements" ? weighted : await trainingJudgements(store, project, weighted);
  for (const [task, taskJudgements] of groupBy(exported, ({ task }) => task)) {
    const content = await store.taskContent(task);
    const judgements = taskJudgements.map((judgement) => ({
      ...judgement,
      labeler: names.get(judgement.labeler) ?? judgement.labeler,
    }));
    const rows = writers[format]({ ...content, task, judgements });
    if (typeof rows === "string") onDrop?.(rows);
    else yield* margins ? rows.map(withMargin) : rows;
  }
}

/** Collects all rows in an array, for encodings that cannot be streamed. */
export async function collect<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const row of rows) all.push(row);
  return all;
}

type WeightedJudgement = Judgement & { weight: number };

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
