import { createHash } from "node:crypto";
import type { Transaction } from "kysely";
import type { Project, User } from "./records.ts";
import type { Schema } from "./tables.ts";

/** Judgements between a task and its repetition: by then an answer is given anew and not remembered. */
const repeatAfter = 10;

/**
 * Open tasks that one is drawn from. With always the first, people who work in step judge together every time, and whom
 * one disagrees with says little of who errs. Small, so that few tasks are begun at a time and what was paid for is soon
 * complete: each draw takes a begun one about as often as the overlap says.
 */
const window = 16;

/** A task to be judged, and how many completions it has. */
interface Open {
  task: string;
  completions: number;
}

export interface Wish {
  project: Project;
  labeler: User;
  /** Tasks that the labeler holds already. */
  held: number;
  now: number;
  /** In [0, 1). */
  random: () => number;
}

/**
 * The task that a labeler gets next: at the project's rates one whose answer is known, or one that they judged before;
 * else any of the first few that still need judgements, which nobody else is about to give, and that they have not seen.
 */
export async function chooseTask(
  tx: Transaction<Schema>,
  { project, labeler, held, now, random }: Wish,
): Promise<(Open & { repeat: boolean }) | undefined> {
  const { goldRate, repeatRate } = project.settings;
  const { count } = await tx
    .selectFrom("judgement")
    .select(({ fn }) => fn.countAll<number>().as("count"))
    .where("project", "=", project.id)
    .where("labeler", "=", labeler.id)
    .executeTakeFirstOrThrow();
  const at = drawOf(labeler.id, Number(count) + held);
  const open = await firstOpen(tx, project.id, labeler, now);
  const drawn = open[Math.floor(random() * open.length)];
  if (drawn === undefined) return undefined;
  if (at < goldRate) {
    const gold = await firstGold(tx, project.id, labeler, now);
    if (gold) return { ...gold, repeat: false };
  } else if (at < goldRate + repeatRate) {
    const again = await oldest(tx, project.id, labeler.id, now);
    if (again) return { ...again, repeat: true };
  }
  return { ...drawn, repeat: false };
}

/** In [0, 1), the same for the same labeler and place, and not to be foreseen. */
const drawOf = (labeler: string, place: number): number =>
  createHash("sha256").update(`${labeler} ${place}`).digest().readUInt32BE() / 2 ** 32;

const tasks = (tx: Transaction<Schema>, project: string) =>
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
    .where("task.project", "=", project);

/** Tasks of a project that ask for judgements still, and that the labeler may judge and has not seen, in their order. */
const unseen = (tx: Transaction<Schema>, project: string, labeler: User, now: number) =>
  tasks(tx, project)
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

const firstOpen = (tx: Transaction<Schema>, project: string, labeler: User, now: number): Promise<Open[]> =>
  unseen(tx, project, labeler, now)
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
    .limit(window)
    .execute();

const firstGold = (
  tx: Transaction<Schema>,
  project: string,
  labeler: User,
  now: number,
): Promise<Open | undefined> =>
  unseen(tx, project, labeler, now).where("task.gold", "is not", null).limit(1).executeTakeFirst();

/** The labeler's oldest judgement that is far enough back, and was neither skipped nor repeated. */
async function oldest(
  tx: Transaction<Schema>,
  project: string,
  labeler: string,
  now: number,
): Promise<Open | undefined> {
  const own = await tasks(tx, project)
    .innerJoin("judgement", "judgement.task", "task.id")
    .select(["judgement.answer", "judgement.repeat", "task.gold"])
    .where("judgement.project", "=", project)
    .where("judgement.labeler", "=", labeler)
    .where("judgement.current", "=", 1)
    .orderBy("judgement.at")
    .orderBy("judgement.id")
    .execute();
  const held = await tx
    .selectFrom("lease")
    .select("task")
    .where("project", "=", project)
    .where("labeler", "=", labeler)
    .where("expires", ">", now)
    .execute();
  const repeated = new Set([
    ...own.filter(({ repeat }) => repeat).map(({ task }) => task),
    ...held.map(({ task }) => task),
  ]);
  return own
    .slice(0, -repeatAfter)
    .find(
      ({ task, answer, gold }) =>
        gold === null && !repeated.has(task) && JSON.parse(answer).skip === undefined,
    );
}
