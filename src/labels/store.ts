import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import type { Kysely, Transaction } from "kysely";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { messageSchema } from "../data/records.ts";
import { shuffled } from "../data/split.ts";
import { chooseTask } from "./assign.ts";
import { type Database, openDatabase, type Schema } from "./database.ts";
import { apply, eventSchema, hashOf, type LabelEvent, type Role } from "./events.ts";
import type { Assignment, Guidelines, NewTask, Project, User } from "./records.ts";
import {
  type Answer,
  answerSchema,
  checkAnswer,
  type ProjectSettings,
  projectSettings,
  question,
  shuffleAnswer,
  unshuffle,
} from "./settings.ts";

/** A mistake of a request that something else is needed for: no such thing, not allowed, too late. */
export class Refusal extends InputError {
  readonly status: 401 | 403 | 404 | 409;
  constructor(status: 401 | 403 | 404 | 409, message: string) {
    super(message);
    this.status = status;
  }
}

/** 80 random bits in letters and digits. */
export const newId = (): string =>
  BigInt(`0x${randomBytes(10).toString("hex")}`)
    .toString(36)
    .padStart(16, "0");

type Tx = Transaction<Schema>;

/**
 * Labels in SQL. Whatever happens is an event in a log that is only added to, and every table about projects, tasks and
 * judgements follows from it (see `verify`).
 */
export class LabelStore {
  readonly db: Kysely<Schema>;
  readonly #lock: Database["lock"];
  readonly #now: () => number;

  private constructor({ db, lock }: Database, now: () => number) {
    [this.db, this.#lock, this.#now] = [db, lock, now];
  }

  /** @param where see `openDatabase` @throws InputError */
  static async open(where: string, now: () => number = Date.now): Promise<LabelStore> {
    return new LabelStore(await openDatabase(where), now);
  }

  /** Opens a store, and makes none. @throws InputError when it is not there */
  static async openExisting(where: string): Promise<LabelStore> {
    if (!where.includes("://") && !existsSync(where))
      throw new InputError(
        `${where}: there is no such label store; plumbline serve, or labels import --kind, makes one`,
      );
    return LabelStore.open(where);
  }

  close(): Promise<void> {
    return this.db.destroy();
  }

  now(): number {
    return this.#now();
  }

  /** Everything that `body` does, or nothing. One writes at a time. */
  write<T>(body: (tx: Tx) => Promise<T>): Promise<T> {
    return this.db.transaction().execute(async (tx) => {
      await this.#lock(tx);
      return body(tx);
    });
  }

  /** Adds events to the log, and takes them into the tables. @param actor who did it; null for the program */
  async record(tx: Tx, actor: string | null, ...events: LabelEvent[]): Promise<void> {
    const last = await tx
      .selectFrom("event")
      .select(["seq", "hash"])
      .orderBy("seq", "desc")
      .limit(1)
      .executeTakeFirst();
    let { seq, hash } = last ?? { seq: 0, hash: "" };
    for (const event of events) {
      const row = { at: this.#now(), actor, data: JSON.stringify(eventSchema.parse(event)) };
      hash = hashOf(hash, row);
      await tx
        .insertInto("event")
        .values({ ...row, seq: ++seq, type: event.type, hash })
        .execute();
      await apply(tx, event, row.at);
    }
  }

  async addUser(actor: string | null, user: { name: string; role: Role }): Promise<User> {
    return this.user(await this.write((tx) => this.addUserIn(tx, actor, user)));
  }

  async addUserIn(tx: Tx, actor: string | null, user: { name: string; role: Role }): Promise<string> {
    const same = await tx.selectFrom("user").select("id").where("name", "=", user.name).executeTakeFirst();
    if (same) throw new Refusal(409, `there is a "${user.name}" already: choose another name`);
    const id = newId();
    await this.record(tx, actor ?? id, { type: "user added", id, ...user });
    return id;
  }

  async user(id: string): Promise<User> {
    const row = await this.db.selectFrom("user").selectAll().where("id", "=", id).executeTakeFirst();
    if (!row) throw new Refusal(404, "there is no such user");
    return toUser(row);
  }

  async users(): Promise<User[]> {
    return (await this.db.selectFrom("user").selectAll().orderBy("since").orderBy("id").execute()).map(
      toUser,
    );
  }

  async changeUser(
    actor: string,
    id: string,
    change: { [K in "role" | "active" | "skills" | "cohort"]?: User[K] | undefined },
  ): Promise<User> {
    await this.user(id);
    await this.write((tx) => this.record(tx, actor, { type: "user changed", id, ...change }));
    return this.user(id);
  }

  async addProject(
    actor: string | null,
    project: { name: string; settings: z.input<typeof projectSettings> },
  ): Promise<Project> {
    const id = newId();
    const settings = sound(projectSettings.parse(project.settings));
    await this.write((tx) =>
      this.record(tx, actor, { type: "project added", id, name: project.name, settings }),
    );
    return this.project(id);
  }

  async isMember(project: string, user: string): Promise<boolean> {
    const row = await this.db
      .selectFrom("member")
      .select("user")
      .where("project", "=", project)
      .where("user", "=", user)
      .executeTakeFirst();
    return row !== undefined;
  }

  /** Tasks keep the overlap that they were made with, and the kind of task stays. */
  async changeProject(
    actor: string,
    id: string,
    settings: z.input<typeof projectSettings>,
  ): Promise<Project> {
    const before = await this.project(id);
    const after = sound(projectSettings.parse(settings));
    if (after.kind !== before.settings.kind)
      throw new Refusal(
        409,
        `kind: this project is a ${before.settings.kind}; make another for a ${after.kind}`,
      );
    await this.write((tx) => this.record(tx, actor, { type: "project changed", id, settings: after }));
    return this.project(id);
  }

  project(id: string): Promise<Project> {
    return this.#projectIn(this.db, id);
  }

  async #projectIn(db: Kysely<Schema>, id: string): Promise<Project> {
    const row = await db.selectFrom("project").selectAll().where("id", "=", id).executeTakeFirst();
    if (!row) throw new Refusal(404, "there is no such project");
    return toProject(row);
  }

  async projects(): Promise<Project[]> {
    return (await this.db.selectFrom("project").selectAll().orderBy("at").orderBy("id").execute()).map(
      toProject,
    );
  }

  async publish(
    actor: string,
    project: string,
    { text, questions }: Omit<Guidelines, "version">,
  ): Promise<void> {
    await this.write(async (tx) => {
      const { guidelines } = await tx
        .selectFrom("project")
        .select("guidelines")
        .where("id", "=", project)
        .executeTakeFirstOrThrow();
      const version = guidelines + 1;
      await this.record(tx, actor, { type: "guidelines published", project, version, text, questions });
    });
  }

  /** The newest guidelines, if any are published. */
  async guidelines({ id, guidelines }: Project): Promise<Guidelines | undefined> {
    const row = await this.db
      .selectFrom("guidelines")
      .selectAll()
      .where("project", "=", id)
      .where("version", "=", guidelines)
      .executeTakeFirst();
    return (
      row && {
        version: row.version,
        text: z.string().parse(JSON.parse(row.text)),
        questions: z.array(question).parse(JSON.parse(row.questions)),
      }
    );
  }

  /** Whether the labeler has passed on the newest guidelines; those without questions are passed by being read. */
  async hasQualified({ id, guidelines }: Project, labeler: string): Promise<boolean> {
    if (!guidelines) return true;
    const row = await this.db
      .selectFrom("qualification")
      .select("passed")
      .where("project", "=", id)
      .where("user", "=", labeler)
      .where("version", "=", guidelines)
      .executeTakeFirst();
    return row?.passed === 1;
  }

  /** @param answers the place of the option chosen, for each question of the newest guidelines */
  async qualify(
    project: Project,
    labeler: string,
    answers: readonly number[],
  ): Promise<{ passed: boolean; correct: number; total: number }> {
    const guidelines = await this.guidelines(project);
    if (!guidelines) throw new Refusal(409, "this project has no guidelines yet");
    const { version, questions } = guidelines;
    if (answers.length !== questions.length)
      throw new InputError(`answers: ${questions.length} questions, ${answers.length} answers`);
    const correct = questions.filter(({ correct }, i) => answers[i] === correct).length;
    const total = questions.length;
    const passed = correct >= project.settings.passMark * total;
    await this.write((tx) =>
      this.record(tx, labeler, {
        ...{ type: "qualified", project: project.id, user: labeler, version, correct, total, passed },
      } as const),
    );
    return { passed, correct, total };
  }

  /** Adds tasks behind those that are there. @throws InputError for one that the project cannot ask */
  async addTasks(actor: string | null, project: Project, tasks: readonly NewTask[]): Promise<void> {
    const { kind, overlap } = project.settings;
    const [least, most] = { ranking: [2, 9], pairwise: [2, 2], rating: [1, 9], demonstration: [0, 1] }[
      kind
    ] as [number, number];
    tasks.forEach(({ completions, messages }, i) => {
      if (!messages.length) throw new InputError(`task ${i + 1}: the prompt is empty`);
      if (completions.length < least || completions.length > most)
        throw new InputError(
          `task ${i + 1}: ${completions.length} completions; a ${kind} takes ${least === most ? least : `${least} to ${most}`}`,
        );
    });
    await this.write(async (tx) => {
      const { last } = await tx
        .selectFrom("task")
        .select(({ fn }) => fn.max("place").as("last"))
        .where("project", "=", project.id)
        .executeTakeFirstOrThrow();
      let place = Number(last ?? 0);
      const events = tasks.map(({ completions, ...task }): LabelEvent => {
        const [id, prompt] = [newId(), newId()];
        const stored = completions.map((one) => ({ id: newId(), ...one }));
        return {
          ...{ type: "task added", project: project.id, task: id, place: ++place, prompt },
          ...task,
          ...{ completions: stored, wanted: overlap },
        };
      });
      await this.record(tx, actor, ...events);
    });
  }

  /**
   * The next task of a labeler, which is theirs for a while: the one they hold, or another one.
   * @param besides tasks that they hold and do not mean: the one after them is fetched ahead
   * @returns undefined when there is none left for them @throws Refusal when they may not judge yet
   */
  async next(
    project: Project,
    labeler: User,
    besides: readonly string[] = [],
  ): Promise<Assignment | undefined> {
    const { skill, leaseMinutes } = project.settings;
    if (skill !== undefined && !labeler.skills.includes(skill))
      throw new Refusal(403, `this project is for labelers with the skill "${skill}"`);
    if (!(await this.hasQualified(project, labeler.id)))
      throw new Refusal(403, "read the guidelines and pass the qualification first");
    // What is read of the task comes after: others wait for the writing alone.
    const lease = await this.write(async (tx) => {
      const now = this.#now();
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
      if (!mine) return this.#lease(tx, project, labeler, held, expires);
      await tx.updateTable("lease").set({ expires }).where("id", "=", mine.id).execute();
      return { ...mine, expires };
    });
    return lease && this.#assignment(lease);
  }

  async #lease(
    tx: Tx,
    project: Project,
    labeler: User,
    held: readonly Schema["lease"][],
    expires: number,
  ): Promise<Schema["lease"] | undefined> {
    const now = this.#now();
    const found = await chooseTask(tx, { project, labeler, held: held.length, now });
    if (!found) return undefined;
    const { count } = await tx
      .selectFrom("completion")
      .innerJoin("task", "task.prompt", "completion.prompt")
      .select(({ fn }) => fn.countAll<number>().as("count"))
      .where("task.id", "=", found.task)
      .executeTakeFirstOrThrow();
    const seed = randomBytes(4).readUInt32BE();
    const lease = {
      ...{ id: newId(), project: project.id, task: found.task, labeler: labeler.id },
      ...{ order: JSON.stringify(shuffled(Number(count), seed)), seed, repeat: Number(found.repeat) },
      ...{ draft: null, at: Math.max(now, ...held.map(({ at }) => at + 1)), expires },
    };
    await tx.deleteFrom("lease").where("task", "=", found.task).where("labeler", "=", labeler.id).execute();
    await tx.insertInto("lease").values(lease).execute();
    return lease;
  }

  async #assignment({ id, task, expires, ...lease }: Schema["lease"]): Promise<Assignment> {
    const { messages, completions } = await this.content(task);
    const order = places.parse(JSON.parse(lease.order));
    return {
      ...{ lease: id, task, messages, expires },
      completions: order.map((place) => completions[place]?.text as string),
      draft: lease.draft === null ? null : JSON.parse(lease.draft),
    };
  }

  /** A task's prompt and completions, as stored. */
  async content(task: string) {
    const row = await this.db
      .selectFrom("task")
      .innerJoin("prompt", "prompt.id", "task.prompt")
      .select(["prompt.id", "prompt.messages"])
      .where("task.id", "=", task)
      .executeTakeFirst();
    if (!row) throw new Refusal(404, "there is no such task");
    const completions = await this.db
      .selectFrom("completion")
      .select(["id", "text", "model", "run", "temperature", "seed"])
      .where("prompt", "=", row.id)
      .orderBy("place")
      .execute();
    return {
      messages: z.array(messageSchema).parse(JSON.parse(row.messages)),
      completions: completions.map((one) => ({ ...one, text: z.string().parse(JSON.parse(one.text)) })),
    };
  }

  /** Keeps what a labeler has so far, and the task for them. */
  async saveDraft(id: string, labeler: string, draft: unknown): Promise<void> {
    await this.write(async (tx) => {
      const lease = await this.#leaseOf(tx, id, labeler);
      const { leaseMinutes } = (await this.#projectIn(tx, lease.project)).settings;
      const expires = this.#now() + leaseMinutes * 60_000;
      await tx
        .updateTable("lease")
        .set({ draft: JSON.stringify(draft), ...(lease.expires > this.#now() && { expires }) })
        .where("id", "=", id)
        .execute();
    });
  }

  async #leaseOf(tx: Tx, id: string, labeler: string): Promise<Schema["lease"]> {
    const lease = await tx
      .selectFrom("lease")
      .selectAll()
      .where("id", "=", id)
      .where("labeler", "=", labeler)
      .executeTakeFirst();
    if (!lease) throw new Refusal(404, "this task is not yours, or no longer: ask for the next one");
    return lease;
  }

  /**
   * Takes a judgement. A second of the same lease is the first one come again, and changes nothing.
   * @param shown about the completions as shown @returns the judgement's id
   */
  async judge(lease: string, labeler: string, shown: Answer, seconds: number): Promise<string> {
    const answer = answerSchema.parse(shown);
    return this.write(async (tx) => {
      const again = await tx
        .selectFrom("judgement")
        .select("id")
        .where("id", "=", lease)
        .where("labeler", "=", labeler)
        .executeTakeFirst();
      if (again) return lease;
      const held = await this.#leaseOf(tx, lease, labeler);
      const project = await this.#projectIn(tx, held.project);
      const order = places.parse(JSON.parse(held.order));
      checkAnswer(answer, project.settings, order.length);
      if (held.expires <= this.#now()) await this.#refuseIfTaken(tx, held);
      await this.record(tx, labeler, {
        ...{ type: "judged", id: lease, project: project.id, task: held.task, labeler },
        ...{ version: project.guidelines, answer: unshuffle(answer, order), order, seed: held.seed },
        ...{ seconds, repeat: held.repeat === 1 },
      });
      await tx.deleteFrom("lease").where("id", "=", lease).execute();
      return lease;
    });
  }

  /** What comes after the lease has ended still counts, unless others have all the task's places. */
  async #refuseIfTaken(tx: Tx, { task, id, repeat }: Schema["lease"]): Promise<void> {
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
      .where("expires", ">", this.#now())
      .executeTakeFirstOrThrow();
    if (done + Number(others) < wanted) return;
    await tx.deleteFrom("lease").where("id", "=", id).execute();
    throw new Refusal(
      409,
      "the task was yours for a while and went to somebody else since: it was not counted",
    );
  }

  /** The labeler's newest judgement in a project, as it was shown. */
  async last(project: string, labeler: string) {
    const row = await this.db
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
    const { messages, completions } = await this.content(task);
    return {
      ...{ id, task, messages, completions: order.map((place) => completions[place]?.text as string) },
      answer: shuffleAnswer(answerSchema.parse(JSON.parse(row.answer)), order),
    };
  }

  /** Decides a task: what is trained on in place of what labelers said. @param answer about completions as stored */
  async adjudicate(project: Project, user: string, task: string, answer: Answer): Promise<void> {
    const { completions } = await this.content(task);
    checkAnswer(answer, project.settings, completions.length);
    await this.write((tx) =>
      this.record(tx, user, { type: "adjudicated", project: project.id, task, user, answer }),
    );
  }

  /** Tasks to be judged, those that have all their judgements, and how many judgements are this user's. */
  async progress(project: string, user: string): Promise<{ tasks: number; complete: number; mine: number }> {
    const { tasks, complete } = await this.db
      .selectFrom("task")
      .select(({ fn }) => [fn.countAll<number>().as("tasks"), fn.sum<number>("complete").as("complete")])
      .where("project", "=", project)
      .where("gold", "is", null)
      .executeTakeFirstOrThrow();
    const { mine } = await this.db
      .selectFrom("judgement")
      .select(({ fn }) => fn.countAll<number>().as("mine"))
      .where("project", "=", project)
      .where("labeler", "=", user)
      .where("current", "=", 1)
      .executeTakeFirstOrThrow();
    return { tasks: Number(tasks), complete: Number(complete ?? 0), mine: Number(mine) };
  }

  /** Puts another answer in the place of one's own, which stays in the log. @param shown in the order that was shown */
  async revise(judgement: string, labeler: string, shown: Answer, seconds: number): Promise<string> {
    const answer = answerSchema.parse(shown);
    return this.write(async (tx) => {
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
      await this.record(tx, labeler, {
        ...{ type: "judged", id, project: before.project, task: before.task, labeler },
        ...{ version: before.version, answer: unshuffle(answer, order), order, seed: before.seed },
        ...{ seconds, repeat: before.repeat === 1, revises: judgement },
      });
      return id;
    });
  }
}

const places = z.array(z.int());

const toUser = ({ role, skills, cohort, active, ...row }: Schema["user"]): User => ({
  ...row,
  role: role as Role,
  skills: JSON.parse(skills),
  cohort: JSON.parse(cohort),
  active: active === 1,
});

const toProject = ({ settings, ...row }: Schema["project"]): Project => ({
  ...row,
  settings: projectSettings.parse(JSON.parse(settings)),
});

function sound(settings: ProjectSettings): ProjectSettings {
  const { overlap, maxOverlap, kind, rubric } = settings;
  if (kind === "rating" && !rubric.length)
    throw new InputError("rubric: a rating project needs one criterion at least");
  return { ...settings, maxOverlap: Math.max(overlap, maxOverlap) };
}
