import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import type { Kysely, Transaction } from "kysely";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { messageSchema } from "../data/records.ts";
import { type Database, lastEvent, openDatabase, refuseNewerLog } from "./database.ts";
import { apply, eventSchema, hashOf, type LabelEvent, type NewEvent, type Role } from "./events.ts";
import { wantedAfter } from "./overlap.ts";
import type { Guidelines, NewTask, Project, User } from "./records.ts";
import { type ProjectSettings, projectSettings, question } from "./settings.ts";
import { logVersion, type Schema } from "./tables.ts";

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
 * Labels in SQL: the log, and what is set up by it (users, projects, guidelines, tasks). What labelers do with that is in
 * `work.ts`. Whatever happens is an event in a log that is only added to, and every table about projects, tasks and
 * judgements follows from it (see `verify`).
 */
export class LabelStore {
  /** See `openDatabase`. */
  readonly where: string;
  readonly db: Kysely<Schema>;
  readonly #lock: Database["lock"];
  #lastWrite: Promise<unknown> = Promise.resolve();
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** In [0, 1): draws tasks. */
  readonly random: () => number;

  private constructor(where: string, { db, lock }: Database, now: () => number, random: () => number) {
    [this.where, this.db, this.#lock, this.now, this.random] = [where, db, lock, now, random];
  }

  /** @param where see `openDatabase` @throws InputError */
  static async open(where: string, now = Date.now, random = Math.random): Promise<LabelStore> {
    return new LabelStore(where, await openDatabase(where), now, random);
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

  /** Everything that `body` does, or nothing. One writes at a time; those who wait hold no connection meanwhile. */
  write<T>(body: (tx: Tx) => Promise<T>): Promise<T> {
    const turn = this.#lastWrite.then(() =>
      this.db.transaction().execute(async (tx) => {
        await this.#lock(tx);
        return body(tx);
      }),
    );
    this.#lastWrite = turn.catch(() => {});
    return turn;
  }

  /** Adds events to the log, and takes them into the tables. @param actor who did it; null for the program */
  async record(tx: Tx, actor: string | null, ...events: NewEvent[]): Promise<void> {
    const last = await lastEvent(tx);
    // A later version may have written to it since it was opened.
    refuseNewerLog(last);
    let { seq, hash } = last ?? { seq: 0, hash: "" };
    for (const given of events) {
      const event = eventSchema.parse(
        given.type === "judged" ? { ...given, wanted: await wantedAfter(tx, given) } : given,
      );
      const row = { at: this.now(), actor, data: JSON.stringify(event), version: logVersion };
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
    checkName(user.name);
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
    checkName(project.name);
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

  /** @param db the transaction to read it in, if any */
  async project(id: string, db: Kysely<Schema> = this.db): Promise<Project> {
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
        type: "qualified",
        project: project.id,
        user: labeler,
        version,
        correct,
        total,
        passed,
      } as const),
    );
    return { passed, correct, total };
  }

  /** Adds tasks behind those that are there, and tells their ids. @throws InputError for one that the project cannot ask */
  addTasks(actor: string | null, project: Project, tasks: readonly NewTask[]): Promise<string[]> {
    return this.write((tx) => this.addTasksIn(tx, actor, project, tasks));
  }

  async addTasksIn(
    tx: Tx,
    actor: string | null,
    project: Project,
    tasks: readonly NewTask[],
  ): Promise<string[]> {
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
    const { last } = await tx
      .selectFrom("task")
      .select(({ fn }) => fn.max("place").as("last"))
      .where("project", "=", project.id)
      .executeTakeFirstOrThrow();
    let place = Number(last ?? 0);
    const events = tasks.map(({ completions, ...task }): LabelEvent & { type: "task added" } => {
      const [id, prompt] = [newId(), newId()];
      const stored = completions.map((one) => ({ id: newId(), ...one }));
      return {
        type: "task added",
        project: project.id,
        task: id,
        place: ++place,
        prompt,
        ...task,
        completions: stored,
        wanted: overlap,
      };
    });
    await this.record(tx, actor, ...events);
    return events.map(({ task }) => task);
  }

  /** A task's prompt and completions, as stored. */
  async content(task: string) {
    const row = await this.db
      .selectFrom("task")
      .innerJoin("prompt", "prompt.id", "task.prompt")
      .select(["prompt.id", "prompt.project", "prompt.messages", "prompt.source"])
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
      project: row.project,
      source: row.source,
      messages: z.array(messageSchema).parse(JSON.parse(row.messages)),
      completions: completions.map((one) => ({ ...one, text: z.string().parse(JSON.parse(one.text)) })),
    };
  }
}

/** Names are kept as they are, not as JSON. @throws InputError for what no database keeps: NUL, half a character */
function checkName(name: string): void {
  if (/[\0\p{Cs}]/u.test(name)) throw new InputError("name: it has a character that is none");
}

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
