import { createHash } from "node:crypto";
import type { Transaction } from "kysely";
import { isAlike } from "./names.ts";
import type { Project, User } from "./records.ts";
import type { Schema } from "./tables.ts";

/** A task is repeated only after this many other judgements, so that the labeler judges it anew, not from memory. */
const judgementsBeforeRepeat = 10;

/**
 * The next task is drawn at random from this many open ones. If everybody got the first, labelers who work at the same
 * time would always share their tasks, and disagreement within one fixed pair does not show which of the two errs. The
 * number is small so that few tasks are partly judged at any time, and tasks are soon complete.
 */
const candidateLimit = 16;

/** A task that may be assigned. */
interface CandidateTask {
  task: string;
  /** Number of completions. */
  completions: number;
}

export interface TaskRequest {
  project: Project;
  labeler: User;
  /** Number of tasks that are already leased to the labeler. */
  leased: number;
  now: number;
  /** Returns a uniform random number in [0, 1). */
  random: () => number;
}

/**
 * Chooses the next task of a labeler. At the project's `goldRate` it is a gold task (one whose answer is known), and at
 * its `repeatRate` one that the labeler has judged before. Otherwise it is drawn from the first open tasks: those that
 * the labeler has not seen and that need more judgements than others hold leases for.
 */
export async function chooseTask(
  tx: Transaction<Schema>,
  { project, labeler, leased, now, random }: TaskRequest,
): Promise<(CandidateTask & { repeat: boolean }) | undefined> {
  const { goldRate, repeatRate } = project.settings;
  const { count } = await tx
    .selectFrom("judgement")
    .select(({ fn }) => fn.countAll<number>().as("count"))
    .where("project", "=", project.id)
    .where("labeler", "=", labeler.id)
    .executeTakeFirstOrThrow();
  const draw = uniformFromHash(labeler.id, Number(count) + leased);
  const skilled = { ...labeler, skills: await neededSkills(tx, project.id, labeler.skills) };
  const open = await openTasks(tx, project.id, skilled, now);
  const candidate = open[Math.floor(random() * open.length)];
  if (candidate === undefined) return undefined;
  if (draw < goldRate) {
    const gold = await nextGoldTask(tx, project.id, skilled, now);
    if (gold) return { ...gold, repeat: false };
  } else if (draw < goldRate + repeatRate) {
    const repeated = await oldestRepeatableTask(tx, project.id, labeler.id, now);
    if (repeated) return { ...repeated, repeat: true };
  }
  return { ...candidate, repeat: false };
}

/** Reads those skills that a project's tasks need and the labeler has, as the tasks spell them: "Python" is "python". */
async function neededSkills(
  tx: Transaction<Schema>,
  project: string,
  held: readonly string[],
): Promise<string[]> {
  if (!held.length) return [];
  const rows = await tx
    .selectFrom("task")
    .select("skill")
    .distinct()
    .where("project", "=", project)
    .where("skill", "is not", null)
    .execute();
  return rows.flatMap(({ skill }) =>
    skill !== null && held.some((one) => isAlike(one, skill)) ? [skill] : [],
  );
}

/** Hashes a labeler's id and task number to [0, 1): reproducible, but labelers cannot foresee which task is gold. */
const uniformFromHash = (labeler: string, taskNumber: number): number =>
  createHash("sha256").update(`${labeler} ${taskNumber}`).digest().readUInt32BE() / 2 ** 32;

const selectTasks = (tx: Transaction<Schema>, project: string) =>
  tx
    .selectFrom("task")
    .select(({ selectFrom }) => [
      "task.id as task",
      selectFrom("completion")
        .select(({ fn }) => fn.countAll<number>().as("count"))
        .whereRef("completion.prompt", "=", "task.prompt")
        .$asScalar()
        .$notNull()
        .as("completions"),
    ])
    .where("task.project", "=", project)
    .where("task.withdrawn", "=", 0);

/** Selects incomplete tasks that the labeler has the skill for and has neither judged nor leased, in the project's order. */
const selectUnseenTasks = (tx: Transaction<Schema>, project: string, labeler: User, now: number) =>
  selectTasks(tx, project)
    .where("task.complete", "=", 0)
    .where(({ and, exists, not, selectFrom, eb, or }) =>
      and([
        not(
          exists(
            selectFrom("judgement")
              .select("judgement.id")
              .whereRef("judgement.task", "=", "task.id")
              .where("judgement.labeler", "=", labeler.id),
          ),
        ),
        not(
          exists(
            selectFrom("lease")
              .select("lease.id")
              .whereRef("lease.task", "=", "task.id")
              .where("lease.labeler", "=", labeler.id)
              .where("lease.expires", ">", now),
          ),
        ),
        labeler.skills.length
          ? or([eb("task.skill", "is", null), eb("task.skill", "in", labeler.skills)])
          : eb("task.skill", "is", null),
      ]),
    )
    .orderBy("task.place");

const openTasks = (
  tx: Transaction<Schema>,
  project: string,
  labeler: User,
  now: number,
): Promise<CandidateTask[]> =>
  selectUnseenTasks(tx, project, labeler, now)
    .where("task.gold", "is", null)
    .where(({ eb, selectFrom }) =>
      eb(
        selectFrom("lease")
          .select(({ fn }) => fn.countAll<number>().as("held"))
          .whereRef("lease.task", "=", "task.id")
          .where("lease.repeat", "=", 0)
          .where("lease.expires", ">", now),
        "<",
        eb("task.wanted", "-", eb.ref("task.done")),
      ),
    )
    .limit(candidateLimit)
    .execute();

const nextGoldTask = (
  tx: Transaction<Schema>,
  project: string,
  labeler: User,
  now: number,
): Promise<CandidateTask | undefined> =>
  selectUnseenTasks(tx, project, labeler, now).where("task.gold", "is not", null).limit(1).executeTakeFirst();

/** Finds the task of the labeler's oldest judgement that may be repeated: far enough back, not skipped, not repeated yet. */
async function oldestRepeatableTask(
  tx: Transaction<Schema>,
  project: string,
  labeler: string,
  now: number,
): Promise<CandidateTask | undefined> {
  const judged = await selectTasks(tx, project)
    .innerJoin("judgement", "judgement.task", "task.id")
    .select(["judgement.answer", "judgement.repeat", "task.gold"])
    .where("judgement.project", "=", project)
    .where("judgement.labeler", "=", labeler)
    .where("judgement.current", "=", 1)
    .orderBy("judgement.at")
    .orderBy("judgement.id")
    .execute();
  const leased = await tx
    .selectFrom("lease")
    .select("task")
    .where("project", "=", project)
    .where("labeler", "=", labeler)
    .where("expires", ">", now)
    .execute();
  const excluded = new Set([
    ...judged.filter(({ repeat }) => repeat).map(({ task }) => task),
    ...leased.map(({ task }) => task),
  ]);
  return judged
    .slice(0, -judgementsBeforeRepeat)
    .find(
      ({ task, answer, gold }) =>
        gold === null && !excluded.has(task) && JSON.parse(answer).skip === undefined,
    );
}
