import type { Transaction } from "kysely";
import { answersDisagree } from "./pairwise-preferences.ts";
import { type Answer, projectSettingsSchema } from "./settings.ts";
import type { Schema } from "./tables.ts";

/** The fields of a judgement, about to be recorded, that decide how many more its task needs. */
export interface NewJudgement {
  task: string;
  answer: Answer;
  repeat: boolean;
  revises?: string | undefined;
}

/** State of a task with a new judgement taken into account. */
export interface OverlapState {
  /** Judgements that the task needed before this one. */
  wanted: number;
  /** The project's settings as JSON. */
  settings: string;
  /** Whether the judgement counts towards the overlap: repeated ones and those of gold tasks do not. */
  counts: boolean;
  /** Answers that count, the new one included and skips excluded. */
  answers: Answer[];
}

/** Reads the state of a judgement's task, as if the judgement were recorded. */
export async function readOverlapState(
  tx: Transaction<Schema>,
  { task, answer, repeat, revises }: NewJudgement,
): Promise<OverlapState> {
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
  // Not parsed by the schema: a later schema must not change answers that are in the log.
  const stored = rows.map((row): Answer => JSON.parse(row.answer));
  const answers = [...stored, answer].filter(({ skip }) => skip === undefined);
  return { wanted, settings, counts: !repeat && gold === null, answers };
}

/** Computes how many judgements a task needs: one more while labelers disagree, up to `maxOverlap`. */
export async function wantedAfter(tx: Transaction<Schema>, judgement: NewJudgement): Promise<number> {
  const { wanted, settings, counts, answers } = await readOverlapState(tx, judgement);
  const { overlap, maxOverlap } = projectSettingsSchema.parse(JSON.parse(settings));
  const done = answers.length;
  const isDisputed = done >= wanted && done < maxOverlap && overlap > 1 && answersDisagree(answers);
  return counts && isDisputed ? done + 1 : wanted;
}
