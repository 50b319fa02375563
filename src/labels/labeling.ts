import { randomBytes } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { Transaction } from "kysely";
import { z } from "zod";
import { shuffled } from "../data/split.ts";
import { chooseTask } from "./choose-task.ts";
import { isAlike } from "./names.ts";
import { hasQualified } from "./qualification.ts";
import type { Assignment, Project, User } from "./records.ts";
import {
  type Answer,
  answerSchema,
  checkAnswer,
  parseAnswer,
  permuteAnswer,
  projectSettingsSchema,
  unpermuteAnswer,
} from "./settings.ts";
import { type LabelStore, newId, RequestError } from "./store.ts";
import type { Schema } from "./tables.ts";

// Assigns tasks to labelers, and stores their drafts and judgements.

type Tx = Transaction<Schema>;

const orderSchema = z.array(z.int());

/**
 * Leases a task to a labeler: one that they hold a lease of already, or a new one.
 * @param exclude tasks to pass over, so that the web app can fetch the next task while one is being judged
 * @returns undefined if no task is left for them
 * @throws RequestError if they lack the skill or the qualification, or the project is archived
 */
export async function nextTask(
  store: LabelStore,
  project: Project,
  labeler: User,
  exclude: readonly string[] = [],
): Promise<Assignment | undefined> {
  if (project.archived) throw new RequestError(409, "this project is archived: there is nothing more to do");
  const { skill, leaseMinutes } = project.settings;
  if (skill !== undefined && !labeler.skills.some((held) => isAlike(held, skill)))
    throw new RequestError(403, `this project is for labelers with the skill "${skill}"`);
  if (!(await hasQualified(store, project, labeler.id)))
    throw new RequestError(403, "read the guidelines and pass the qualification first");
  // Only the lease is written under the store's lock; the task's texts are read after it is released.
  const lease = await store.write(async (tx) => {
    const now = store.now();
    const expires = now + leaseMinutes * 60_000;
    const leases = await tx
      .selectFrom("lease")
      .innerJoin("task", "task.id", "lease.task")
      .selectAll("lease")
      .where("lease.project", "=", project.id)
      .where("lease.labeler", "=", labeler.id)
      .where("lease.expires", ">", now)
      .where("task.withdrawn", "=", 0)
      .orderBy("lease.at")
      .orderBy("lease.id")
      .execute();
    const current = leases.find(({ task }) => !exclude.includes(task));
    if (!current) return createLease(store, tx, project, labeler, leases, expires);
    await tx.updateTable("lease").set({ expires }).where("id", "=", current.id).execute();
    return { ...current, expires };
  });
  return lease && toAssignment(store, lease);
}

/** Leases a newly chosen task. @param leases the labeler's other leases */
async function createLease(
  store: LabelStore,
  tx: Tx,
  project: Project,
  labeler: User,
  leases: readonly Schema["lease"][],
  expires: number,
): Promise<Schema["lease"] | undefined> {
  const now = store.now();
  const chosen = await chooseTask(tx, {
    project,
    labeler,
    leased: leases.length,
    now,
    random: store.random,
  });
  if (!chosen) return undefined;
  const seed = randomBytes(4).readUInt32BE();
  const lease = {
    id: newId(),
    project: project.id,
    task: chosen.task,
    labeler: labeler.id,
    order: JSON.stringify(shuffled(chosen.completions, seed)),
    seed,
    repeat: Number(chosen.repeat),
    draft: null,
    at: Math.max(now, ...leases.map(({ at }) => at + 1)),
    expires,
  };
  // An expired lease of the same task is renewed, with its order and draft.
  return tx
    .insertInto("lease")
    .values(lease)
    .onConflict((conflict) => conflict.columns(["task", "labeler"]).doUpdateSet({ at: lease.at, expires }))
    .returningAll()
    .executeTakeFirstOrThrow();
}

async function toAssignment(
  store: LabelStore,
  { id, task, expires, ...lease }: Schema["lease"],
): Promise<Assignment> {
  const { messages, completions } = await store.taskContent(task);
  const order = orderSchema.parse(JSON.parse(lease.order));
  return {
    lease: id,
    task,
    messages,
    expires,
    completions: order.map((place) => completions[place]?.text as string),
    draft: lease.draft === null ? null : JSON.parse(lease.draft),
  };
}

/** Saves a labeler's draft and extends the lease. @throws RequestError (404) if the lease is not theirs */
export async function saveDraft(
  store: LabelStore,
  id: string,
  labeler: string,
  draft: unknown,
): Promise<void> {
  await store.write(async (tx) => {
    const lease = await findLease(tx, id, labeler);
    if (!lease) throw leaseNotHeld();
    const { leaseMinutes } = (await store.project(lease.project, tx)).settings;
    const expires = store.now() + leaseMinutes * 60_000;
    await tx
      .updateTable("lease")
      .set({ draft: JSON.stringify(draft), ...(lease.expires > store.now() && { expires }) })
      .where("id", "=", id)
      .execute();
  });
}

const findLease = (tx: Tx, id: string, labeler: string) =>
  tx.selectFrom("lease").selectAll().where("id", "=", id).where("labeler", "=", labeler).executeTakeFirst();

const leaseNotHeld = () =>
  new RequestError(404, "this task is not yours, or no longer reserved for you: ask for the next one");

/** Checks that a lease was judged with this answer. @throws RequestError 409 if it was with another, 404 if it was not judged */
async function checkRetry(tx: Tx, lease: string, labeler: string, answer: Answer): Promise<void> {
  const row = await tx
    .selectFrom("judgement")
    .select(["answer", "order"])
    .where("id", "=", lease)
    .where("labeler", "=", labeler)
    .executeTakeFirst();
  if (!row) throw leaseNotHeld();
  const sent = unpermuteAnswer(answer, orderSchema.parse(JSON.parse(row.order)));
  if (isDeepStrictEqual(parseAnswer(row.answer), answerSchema.parse(sent))) return;
  throw new RequestError(
    409,
    "you have answered this task already, perhaps in another tab, and differently: that answer was kept and this one was not saved. Change it by Last answer",
  );
}

/**
 * Records a judgement and ends its lease. A request that is sent again for the same lease changes nothing.
 * @param shownAnswer the answer in terms of the order that was shown @returns the judgement's id
 * @throws RequestError (409) if the lease was judged with another answer, or has expired and the task is taken
 */
export async function submitJudgement(
  store: LabelStore,
  lease: string,
  labeler: string,
  shownAnswer: Answer,
  seconds: number,
): Promise<string> {
  const answer = answerSchema.parse(shownAnswer);
  return store.write(async (tx) => {
    const row = await findLease(tx, lease, labeler);
    if (!row) {
      await checkRetry(tx, lease, labeler, answer);
      return lease;
    }
    const project = await store.project(row.project, tx);
    const order = orderSchema.parse(JSON.parse(row.order));
    checkAnswer(answer, project.settings, order.length);
    if (row.expires <= store.now()) await refuseIfReassigned(store, tx, row);
    await store.record(tx, labeler, {
      type: "judged",
      id: lease,
      project: project.id,
      task: row.task,
      labeler,
      version: project.guidelines,
      answer: unpermuteAnswer(answer, order),
      order,
      seed: row.seed,
      seconds,
      repeat: row.repeat === 1,
    });
    await tx.deleteFrom("lease").where("id", "=", lease).execute();
    return lease;
  });
}

/** Throws if others have judged, or hold leases for, all judgements that the task needs. Otherwise a late judgement counts. */
async function refuseIfReassigned(
  store: LabelStore,
  tx: Tx,
  { task, id, repeat }: Schema["lease"],
): Promise<void> {
  const { wanted, done, gold } = await tx
    .selectFrom("task")
    .select(["wanted", "done", "gold"])
    .where("id", "=", task)
    .executeTakeFirstOrThrow();
  if (repeat || gold !== null) return;
  const { others } = await tx
    .selectFrom("lease")
    .select(({ fn }) => fn.countAll<number>().as("others"))
    .where("task", "=", task)
    .where("id", "<>", id)
    .where("repeat", "=", 0)
    .where("expires", ">", store.now())
    .executeTakeFirstOrThrow();
  if (done + Number(others) < wanted) return;
  throw new RequestError(
    409,
    "your lease of this task has expired and it was given to somebody else: your answer was not counted",
  );
}

/** Reads the labeler's newest judgement in a project, in the order that was shown. */
export async function lastJudgement(store: LabelStore, project: string, labeler: string) {
  const row = await store.db
    .selectFrom("judgement")
    .select(["id", "task", "answer", "order"])
    .where("project", "=", project)
    .where("labeler", "=", labeler)
    .where("current", "=", 1)
    .orderBy("at", "desc")
    .orderBy("id", "desc")
    .limit(1)
    .executeTakeFirst();
  if (!row) return undefined;
  const { id, task } = row;
  const order = orderSchema.parse(JSON.parse(row.order));
  const { messages, completions } = await store.taskContent(task);
  return {
    id,
    task,
    messages,
    completions: order.map((place) => completions[place]?.text as string),
    answer: permuteAnswer(parseAnswer(row.answer), order),
  };
}

/** Records a reviewer's decision, which replaces the task's judgements in training. @param answer in stored order */
export async function adjudicate(
  store: LabelStore,
  project: Project,
  user: string,
  task: string,
  answer: Answer,
): Promise<void> {
  const content = await store.taskContent(task);
  if (content.project !== project.id) throw new RequestError(404, "there is no such task in this project");
  checkAnswer(answer, project.settings, content.completions.length);
  await store.write((tx) =>
    store.record(tx, user, { type: "adjudicated", project: project.id, task, user, answer }),
  );
}

/** Counts the tasks of a project (without gold and withdrawn ones), the complete ones, and the user's own judgements (`mine`). */
export async function projectProgress(
  store: LabelStore,
  project: string,
  user: string,
): Promise<{ tasks: number; complete: number; mine: number }> {
  const { tasks, complete } = await store.db
    .selectFrom("task")
    .select(({ fn }) => [fn.countAll<number>().as("tasks"), fn.sum<number>("complete").as("complete")])
    .where("project", "=", project)
    .where("gold", "is", null)
    .where("withdrawn", "=", 0)
    .executeTakeFirstOrThrow();
  const { mine } = await store.db
    .selectFrom("judgement")
    .select(({ fn }) => fn.countAll<number>().as("mine"))
    .where("project", "=", project)
    .where("labeler", "=", user)
    .where("current", "=", 1)
    .executeTakeFirstOrThrow();
  return { tasks: Number(tasks), complete: Number(complete ?? 0), mine: Number(mine) };
}

/**
 * Replaces a labeler's own judgement by a new one. The old one stays in the log.
 * @param shownAnswer the answer in terms of the order that was shown @returns the new judgement's id
 */
export async function reviseJudgement(
  store: LabelStore,
  judgement: string,
  labeler: string,
  shownAnswer: Answer,
  seconds: number,
): Promise<string> {
  const answer = answerSchema.parse(shownAnswer);
  return store.write(async (tx) => {
    const revised = await tx
      .selectFrom("judgement")
      .innerJoin("project", "project.id", "judgement.project")
      .selectAll("judgement")
      .select("project.settings")
      .where("judgement.id", "=", judgement)
      .where("labeler", "=", labeler)
      .executeTakeFirst();
    if (!revised) throw new RequestError(404, "there is no such judgement of yours");
    if (!revised.current) throw new RequestError(409, "this judgement was revised already");
    const order = orderSchema.parse(JSON.parse(revised.order));
    checkAnswer(answer, projectSettingsSchema.parse(JSON.parse(revised.settings)), order.length);
    const id = newId();
    await store.record(tx, labeler, {
      type: "judged",
      id,
      project: revised.project,
      task: revised.task,
      labeler,
      version: revised.version,
      answer: unpermuteAnswer(answer, order),
      order,
      seed: revised.seed,
      seconds,
      repeat: revised.repeat === 1,
      revises: judgement,
    });
    return id;
  });
}
