import type { Transaction } from "kysely";
import { disagreement } from "./pairwise-preferences.ts";
import { type Answer, projectSettings } from "./settings.ts";
import type { Schema } from "./tables.ts";

/** What the overlap depends on of a judgement that is about to be recorded. */
export interface Judgement {
  task: string;
  answer: Answer;
  repeat: boolean;
  revises?: string | undefined;
}

/** A task as it is once a judgement of it is recorded. */
export interface JudgedTask {
  /** Judgements that it was to have until now. */
  wanted: number;
  /** The project's settings as JSON. */
  settings: string;
  /** Whether the judgement counts: not where it is repeated, or the answer is known. */
  counts: boolean;
  /** Answers that count, the judgement's among them; without those who skipped. */
  answers: Answer[];
}

export async function judgedTask(
  tx: Transaction<Schema>,
  { task, answer, repeat, revises }: Judgement,
): Promise<JudgedTask> {
  const { gold, wanted, settings } = await tx
    .selectFrom("task")
    .innerJoin("project", "project.id", "task.project")
    .select(["task.gold", "task.wanted", "project.settings"])
    .where("task.id", "=", task)
    .executeTakeFirstOrThrow();
  const rows = await tx
    .selectFrom("judgement")
    .select("answer")
    .where("task", "=", task)
    .where("current", "=", 1)
    .where("repeat", "=", 0)
    .$if(revises !== undefined, (query) => query.where("id", "<>", revises as string))
    .execute();
  // As recorded: a schema of today may not change what was.
  const stored = rows.map((row): Answer => JSON.parse(row.answer));
  const answers = [...stored, answer].filter(({ skip }) => skip === undefined);
  return { wanted, settings, counts: !repeat && gold === null, answers };
}

/** How many judgements a task is to have after this one: one more while labelers disagree, up to the most. */
export async function wantedAfter(tx: Transaction<Schema>, judgement: Judgement): Promise<number> {
  const { wanted, settings, counts, answers } = await judgedTask(tx, judgement);
  const { overlap, maxOverlap } = projectSettings.parse(JSON.parse(settings));
  const done = answers.length;
  const isDisputed = done >= wanted && done < maxOverlap && overlap > 1 && disagreement(answers);
  return counts && isDisputed ? done + 1 : wanted;
}
