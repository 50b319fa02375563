import { InputError } from "../data/errors.ts";
import { groupBy } from "../statistics/groups.ts";
import type { ExportFormat } from "./export-formats.ts";
import { counted, type Judged, judgements } from "./judgements.ts";
import type { Project } from "./records.ts";
import { parseAnswer } from "./settings.ts";
import type { LabelStore } from "./store.ts";
import { labelerWeights } from "./weights.ts";
import { type Row, writers } from "./writers.ts";

/** The project by its id or its name. @throws InputError when there is none, or several */
export async function findProject(store: LabelStore, wanted: string | undefined): Promise<Project> {
  const all = await store.projects();
  const list = all.map(({ name }) => `"${name}"`).join(", ") || "none";
  if (wanted === undefined) {
    const [only, another] = all;
    if (!only || another) throw new InputError(`name the project (--project): this store has ${list}`);
    return only;
  }
  const found = all.filter(({ id, name }) => id === wanted || name === wanted);
  if (found.length > 1)
    throw new InputError(
      `several projects are called "${wanted}": name one by its id (${found.map(({ id }) => id).join(", ")})`,
    );
  const [project] = found;
  if (!project) throw new InputError(`there is no project "${wanted}"; this store has ${list}`);
  return project;
}

export interface ExportOptions {
  /** Adds the margin of each pair: 0 for slightly better to 3 for much better (Touvron et al. 2023, table 27). */
  margins?: boolean;
  /** Told of every task that the format has no rows for, and why. */
  drop?: (reason: string) => void;
}

/** A project's labels as rows of a format; all of the store's log for "log". */
export async function* exportRows(
  store: LabelStore,
  project: Project,
  format: ExportFormat,
  { margins = false, drop }: ExportOptions = {},
): AsyncGenerator<Record<string, unknown>> {
  if (format === "log") {
    yield* store.db.selectFrom("event").selectAll().orderBy("seq").stream();
    return;
  }
  const all = await judgements(store, project.id);
  const weights = labelerWeights(all);
  const weighted = all.map((one) => ({ ...one, weight: weights.get(one.labeler) ?? 1 }));
  const names = new Map((await store.users()).map(({ id, name }) => [id, name]));
  const learned = format === "judgements" ? weighted : await toLearn(store, project, weighted);
  for (const [task, judged] of groupBy(learned, ({ task }) => task)) {
    const content = await store.content(task);
    const said = judged.map(({ id: judgement, labeler, ...one }) => ({
      ...one,
      judgement,
      labeler: names.get(labeler) ?? labeler,
    }));
    const rows = writers[format]({ ...content, task, said });
    if (typeof rows === "string") drop?.(rows);
    else yield* margins ? rows.map(withMargin) : rows;
  }
}

/** All rows at once, for what cannot be written as they come. */
export async function collect<T>(rows: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const row of rows) all.push(row);
  return all;
}

type Weighted = Judged & { weight: number };

/** Judgements to learn from: of a task that was decided the decision alone, of weight 1. */
async function toLearn(store: LabelStore, project: Project, all: readonly Weighted[]): Promise<Weighted[]> {
  const decisions = await store.db
    .selectFrom("adjudication")
    .selectAll()
    .where("project", "=", project.id)
    .execute();
  const decided = new Map(decisions.map((one) => [one.task, one]));
  return [...groupBy(counted(all), ({ task }) => task)].flatMap(([task, said]) => {
    const decision = decided.get(task);
    const [first] = said as [Weighted];
    if (!decision) return said;
    const answer = parseAnswer(decision.answer);
    return [{ ...first, id: task, labeler: decision.user, answer, at: decision.at, weight: 1 }];
  });
}

/** The name is the format's: `margin` beside a pair, `margins` beside a ranking. */
function withMargin(row: Row): Row {
  if (typeof row.strength !== "number") return row;
  return { ...row, ["ranks" in row ? "margins" : "margin"]: row.strength - 1 };
}
