import { randomBytes } from "node:crypto";
import type { Transaction } from "kysely";
import { z } from "zod";
import { shuffled } from "../data/split.ts";
import { chooseTask } from "./choose-task.ts";
import type { Assignment, Project, User } from "./records.ts";
import {
  type Answer,
  answerSchema,
  checkAnswer,
  parseAnswer,
  projectSettings,
  shuffleAnswer,
  unshuffle,
} from "./settings.ts";
import { type LabelStore, newId, Refusal } from "./store.ts";
import type { Schema } from "./tables.ts";

// What labelers do in a label store: who gets which task, and what becomes of their answers.

type Tx = Transaction<Schema>;

const places = z.array(z.int());

/**
 * The next task of a labeler, which is theirs for a while: the one they hold, or another one.
 * @param besides tasks that they hold and do not mean: the one after them is fetched ahead
 * @returns undefined when there is none left for them @throws Refusal when they may not judge yet
 */
export async function nextTask(
  store: LabelStore,
  project: Project,
  labeler: User,
  besides: readonly string[] = [],
): Promise<Assignment | undefined> {
  const { skill, leaseMinutes } = project.settings;
  if (skill !== undefined && !labeler.skills.includes(skill))
    throw new Refusal(403, `this project is for labelers with the skill "${skill}"`);
  if (!(await store.hasQualified(project, labeler.id)))
    throw new Refusal(403, "read the guidelines and pass the qualification first");
  // What is read of the task comes after: others wait for the writing alone.
  const lease = await store.write(async (tx) => {
    const now = store.now();
    const expires = now + leaseMinutes * 60_000;
    const held = await tx
      .selectFrom("lease")
      .selectAll()
      .where("project", "=", project.id)
      .where("labeler", "=", labeler.id)
      .where("expires", ">", now)
      .orderBy("at")
      .orderBy("id")
      .execute();
    const mine = held.find(({ task }) => !besides.includes(task));
    if (!mine) return newLease(store, tx, project, labeler, held, expires);
    await tx.updateTable("lease").set({ expires }).where("id", "=", mine.id).execute();
    return { ...mine, expires };
  });
  return lease && toAssignment(store, lease);
}

/** @param held what the labeler holds besides */
async function newLease(
  store: LabelStore,
  tx: Tx,
  project: Project,
  labeler: User,
  held: readonly Schema["lease"][],
  expires: number,
): Promise<Schema["lease"] | undefined> {
  const now = store.now();
  const found = await chooseTask(tx, { project, labeler, held: held.length, now, random: store.random });
  if (!found) return undefined;
  const seed = randomBytes(4).readUInt32BE();
  const lease = {
    id: newId(),
    project: project.id,
    task: found.task,
    labeler: labeler.id,
    order: JSON.stringify(shuffled(found.completions, seed)),
    seed,
    repeat: Number(found.repeat),
    draft: null,
    at: Math.max(now, ...held.map(({ at }) => at + 1)),
    expires,
  };
  // One that had ended is theirs anew, with its order and draft.
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
  const { messages, completions } = await store.content(task);
  const order = places.parse(JSON.parse(lease.order));
  return {
    lease: id,
    task,
    messages,
    expires,
    completions: order.map((place) => completions[place]?.text as string),
    draft: lease.draft === null ? null : JSON.parse(lease.draft),
  };
}

/** Keeps what a labeler has so far, and the task for them. */
export async function saveDraft(
  store: LabelStore,
  id: string,
  labeler: string,
  draft: unknown,
): Promise<void> {
  await store.write(async (tx) => {
    const lease = await findLease(tx, id, labeler);
    if (!lease) throw notTheirs();
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

const notTheirs = () => new Refusal(404, "this task is not yours, or no longer: ask for the next one");

async function isJudged(tx: Tx, id: string, labeler: string): Promise<boolean> {
  const row = await tx
    .selectFrom("judgement")
    .select("id")
    .where("id", "=", id)
    .where("labeler", "=", labeler)
    .executeTakeFirst();
  return row !== undefined;
}

/**
 * Takes a judgement. A second of the same lease is the first one come again, and changes nothing.
 * @param shown about the completions as shown @returns the judgement's id
 */
export async function judge(
  store: LabelStore,
  lease: string,
  labeler: string,
  shown: Answer,
  seconds: number,
): Promise<string> {
  const answer = answerSchema.parse(shown);
  return store.write(async (tx) => {
    const held = await findLease(tx, lease, labeler);
    if (!held && (await isJudged(tx, lease, labeler))) return lease;
    if (!held) throw notTheirs();
    const project = await store.project(held.project, tx);
    const order = places.parse(JSON.parse(held.order));
    checkAnswer(answer, project.settings, order.length);
    if (held.expires <= store.now()) await refuseIfTaken(store, tx, held);
    await store.record(tx, labeler, {
      type: "judged",
      id: lease,
      project: project.id,
      task: held.task,
      labeler,
      version: project.guidelines,
      answer: unshuffle(answer, order),
      order,
      seed: held.seed,
      seconds,
      repeat: held.repeat === 1,
    });
    await tx.deleteFrom("lease").where("id", "=", lease).execute();
    return lease;
  });
}

/** What comes after the lease has ended still counts, unless others have all the task's places. */
async function refuseIfTaken(
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
  throw new Refusal(
    409,
    "the task was yours for a while and went to somebody else since: it was not counted",
  );
}

/** The labeler's newest judgement in a project, as it was shown. */
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
  const order = places.parse(JSON.parse(row.order));
  const { messages, completions } = await store.content(task);
  return {
    id,
    task,
    messages,
    completions: order.map((place) => completions[place]?.text as string),
    answer: shuffleAnswer(parseAnswer(row.answer), order),
  };
}

/** Decides a task: what is trained on in place of what labelers said. @param answer about completions as stored */
export async function adjudicate(
  store: LabelStore,
  project: Project,
  user: string,
  task: string,
  answer: Answer,
): Promise<void> {
  const { completions, ...found } = await store.content(task);
  if (found.project !== project.id) throw new Refusal(404, "there is no such task in this project");
  checkAnswer(answer, project.settings, completions.length);
  await store.write((tx) =>
    store.record(tx, user, { type: "adjudicated", project: project.id, task, user, answer }),
  );
}

/** Tasks to be judged, those that have all their judgements, and how many judgements are this user's. */
export async function progress(
  store: LabelStore,
  project: string,
  user: string,
): Promise<{ tasks: number; complete: number; mine: number }> {
  const { tasks, complete } = await store.db
    .selectFrom("task")
    .select(({ fn }) => [fn.countAll<number>().as("tasks"), fn.sum<number>("complete").as("complete")])
    .where("project", "=", project)
    .where("gold", "is", null)
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

/** Puts another answer in the place of one's own, which stays in the log. @param shown in the order that was shown */
export async function revise(
  store: LabelStore,
  judgement: string,
  labeler: string,
  shown: Answer,
  seconds: number,
): Promise<string> {
  const answer = answerSchema.parse(shown);
  return store.write(async (tx) => {
    const before = await tx
      .selectFrom("judgement")
      .innerJoin("project", "project.id", "judgement.project")
      .selectAll("judgement")
      .select("project.settings")
      .where("judgement.id", "=", judgement)
      .where("labeler", "=", labeler)
      .executeTakeFirst();
    if (!before) throw new Refusal(404, "there is no such judgement of yours");
    if (!before.current) throw new Refusal(409, "this judgement was revised already");
    const order = places.parse(JSON.parse(before.order));
    checkAnswer(answer, projectSettings.parse(JSON.parse(before.settings)), order.length);
    const id = newId();
    await store.record(tx, labeler, {
      type: "judged",
      id,
      project: before.project,
      task: before.task,
      labeler,
      version: before.version,
      answer: unshuffle(answer, order),
      order,
      seed: before.seed,
      seconds,
      repeat: before.repeat === 1,
      revises: judgement,
    });
    return id;
  });
}
