import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import type { Kysely, Transaction } from "kysely";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { messageSchema } from "../data/records.ts";
import { checkLogVersion, type Database, lastEvent, openDatabase } from "./database.ts";
import {
  applyEvent,
  effectiveRole,
  eventHash,
  eventSchema,
  type LabelEvent,
  type NewEvent,
  type Role,
} from "./events.ts";
import { checkName, isAlike } from "./names.ts";
import { wantedAfter } from "./overlap.ts";
import type { Guidelines, NewTask, Project, User } from "./records.ts";
import { type ProjectSettings, projectSettingsSchema, questionSchema } from "./settings.ts";
import { logVersion, type Schema } from "./tables.ts";

/** An error that the server answers with this HTTP status; any other `InputError` is a 400. */
export class RequestError extends InputError {
  readonly status: 401 | 403 | 404 | 409 | 429;
  constructor(status: RequestError["status"], message: string) {
    super(message);
    this.status = status;
  }
}

/** Creates an id: 80 random bits in base 36. */
export const newId = (): string =>
  BigInt(`0x${randomBytes(10).toString("hex")}`)
    .toString(36)
    .padStart(16, "0");

type Tx = Transaction<Schema>;

/**
 * Label store on SQLite or Postgres. It is event-sourced: every change is an event in an append-only log, and the tables
 * about users, projects, tasks and judgements are computed from the log (see `verify`). This class has the log, users,
 * projects, guidelines and tasks; `labeling.ts` assigns tasks and stores judgements.
 */
export class LabelStore {
  /** SQLite path or Postgres connection string: see `openDatabase`. */
  readonly location: string;
  readonly db: Kysely<Schema>;
  readonly #lock: Database["lock"];
  #lastWrite: Promise<unknown> = Promise.resolve();
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Returns a uniform random number in [0, 1), for drawing tasks. */
  readonly random: () => number;

  private constructor(location: string, { db, lock }: Database, now: () => number, random: () => number) {
    [this.location, this.db, this.#lock, this.now, this.random] = [location, db, lock, now, random];
  }

  /** Opens a store, and creates it if there is none. @param location see `openDatabase` @throws InputError */
  static async open(location: string, now = Date.now, random = Math.random): Promise<LabelStore> {
    return new LabelStore(location, await openDatabase(location), now, random);
  }

  /** Opens a store that exists. @throws InputError if there is none */
  static async openExisting(location: string): Promise<LabelStore> {
    if (!location.includes("://") && !existsSync(location))
      throw new InputError(
        `${location}: there is no such label store; plumbline serve, or labels import --kind, makes one`,
      );
    return LabelStore.open(location);
  }

  close(): Promise<void> {
    return this.db.destroy();
  }

  /**
   * Runs `body` in a transaction. Writers of this process queue up before they take a connection, so that waiting ones
   * do not exhaust the pool.
   */
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

  /** Appends events to the log and applies them to the tables. @param actor id of the user; null for the program */
  async record(tx: Tx, actor: string | null, ...events: NewEvent[]): Promise<void> {
    const last = await lastEvent(tx);
    // A later version of plumbline may have written to the log since this store was opened.
    checkLogVersion(last);
    let { seq, hash } = last ?? { seq: 0, hash: "" };
    for (const newEvent of events) {
      const event = eventSchema.parse(
        newEvent.type === "judged" ? { ...newEvent, wanted: await wantedAfter(tx, newEvent) } : newEvent,
      );
      const row = { at: this.now(), actor, data: JSON.stringify(event), version: logVersion };
      hash = eventHash(hash, row);
      await tx
        .insertInto("event")
        .values({ ...row, seq: ++seq, type: event.type, hash })
        .execute();
      await applyEvent(tx, event, row.at);
    }
  }

  async addUser(actor: string | null, user: { name: string; role: Role }): Promise<User> {
    return this.user(await this.write((tx) => this.addUserInTransaction(tx, actor, user)));
  }

  /** @param options.isImported whether it is a labeler of a file, whose names may be alike. @returns the user's id */
  async addUserInTransaction(
    tx: Tx,
    actor: string | null,
    user: { name: string; role: Role },
    { isImported = false } = {},
  ): Promise<string> {
    checkName(user.name);
    const names = await tx
      .selectFrom("user")
      .select("name")
      .$if(isImported, (query) => query.where("name", "=", user.name))
      .execute();
    const existing = names.find(({ name }) => isAlike(name, user.name));
    if (existing) throw new RequestError(409, `there is a "${existing.name}" already: choose another name`);
    const id = newId();
    await this.record(tx, actor ?? id, { type: "user added", id, ...user });
    return id;
  }

  /** Reads a user. @param db transaction to read in. Default: none */
  async user(id: string, db: Kysely<Schema> = this.db): Promise<User> {
    const row = await db.selectFrom("user").selectAll().where("id", "=", id).executeTakeFirst();
    if (!row) throw new RequestError(404, "there is no such user");
    return toUser(row);
  }

  async users(db: Kysely<Schema> = this.db): Promise<User[]> {
    return (await db.selectFrom("user").selectAll().orderBy("since").orderBy("id").execute()).map(toUser);
  }

  /** Changes an account. Closing it ends its sessions and tokens. @throws RequestError (409) if no active owner would be left */
  async changeUser(
    actor: string,
    id: string,
    change: { [K in "role" | "active" | "skills" | "cohort"]?: User[K] | undefined },
  ): Promise<User> {
    await this.write(async (tx) => {
      const before = await this.user(id, tx);
      await this.record(tx, actor, { type: "user changed", id, ...change });
      const isOwner = ({ role, active }: User) => role === "owner" && active;
      if (isOwner(before) && !(await this.users(tx)).some(isOwner))
        throw new RequestError(409, "this is the last owner: make somebody else an owner first");
      if (change.active !== false) return;
      for (const table of ["session", "reset", "token"] as const)
        await tx.deleteFrom(table).where("user", "=", id).execute();
    });
    return this.user(id);
  }

  async addProject(
    actor: string | null,
    project: { name: string; settings: z.input<typeof projectSettingsSchema> },
  ): Promise<Project> {
    checkName(project.name);
    const id = newId();
    const settings = checkSettings(projectSettingsSchema.parse(project.settings));
    await this.write((tx) =>
      this.record(tx, actor, { type: "project added", id, name: project.name, settings }),
    );
    return this.project(id);
  }

  /** Reads a user's role in a project; undefined if they are no member. Owners of the store are owners of each project. */
  async roleIn(project: string, user: User, db: Kysely<Schema> = this.db): Promise<Role | undefined> {
    if (user.role === "owner") return "owner";
    const row = await db
      .selectFrom("member")
      .select("role")
      .where("project", "=", project)
      .where("user", "=", user.id)
      .executeTakeFirst();
    return row && effectiveRole(user.role, row.role);
  }

  /** Changes a project's settings. Existing tasks keep their overlap; the kind of task cannot be changed. */
  async changeProject(
    actor: string,
    id: string,
    settings: z.input<typeof projectSettingsSchema>,
  ): Promise<Project> {
    const before = await this.project(id);
    const after = checkSettings(projectSettingsSchema.parse(settings));
    if (after.kind !== before.settings.kind)
      throw new RequestError(
        409,
        `kind: this project is a ${before.settings.kind}; make another for a ${after.kind}`,
      );
    await this.write((tx) => this.record(tx, actor, { type: "project changed", id, settings: after }));
    return this.project(id);
  }

  /** Reads a project. @param db transaction to read it in. Default: none */
  async project(id: string, db: Kysely<Schema> = this.db): Promise<Project> {
    const row = await db.selectFrom("project").selectAll().where("id", "=", id).executeTakeFirst();
    if (!row) throw new RequestError(404, "there is no such project");
    return toProject(row);
  }

  async projects(): Promise<Project[]> {
    return (await this.db.selectFrom("project").selectAll().orderBy("at").orderBy("id").execute()).map(
      toProject,
    );
  }

  async publishGuidelines(
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

  /** Reads the newest guidelines; undefined if none are published. */
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
        questions: z.array(questionSchema).parse(JSON.parse(row.questions)),
      }
    );
  }

  /**
   * Appends tasks to a project. @returns their ids
   * @throws InputError for a prompt or number of completions that does not fit, or an archived project
   */
  addTasks(actor: string | null, project: Project, tasks: readonly NewTask[]): Promise<string[]> {
    return this.write((tx) => this.addTasksInTransaction(tx, actor, project, tasks));
  }

  async addTasksInTransaction(
    tx: Tx,
    actor: string | null,
    project: Project,
    tasks: readonly NewTask[],
  ): Promise<string[]> {
    if (project.archived)
      throw new RequestError(409, `"${project.name}" is archived: reopen it to add tasks (Set up, Settings)`);
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
      const stored = completions.map((completion) => ({ id: newId(), ...completion }));
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

  /** Reads a task's prompt and completions, in stored order. */
  async taskContent(task: string) {
    const row = await this.db
      .selectFrom("task")
      .innerJoin("prompt", "prompt.id", "task.prompt")
      .select(["prompt.id", "prompt.project", "prompt.messages", "prompt.source"])
      .where("task.id", "=", task)
      .executeTakeFirst();
    if (!row) throw new RequestError(404, "there is no such task");
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
      completions: completions.map(({ text, ...row }) => ({
        ...row,
        text: z.string().parse(JSON.parse(text)),
      })),
    };
  }
}

/** Converts a row of the table of users. */
export const toUser = ({ role, skills, cohort, active, ...row }: Schema["user"]): User => ({
  ...row,
  role: role as Role,
  skills: JSON.parse(skills),
  cohort: JSON.parse(cohort),
  active: active === 1,
});

export const toProject = ({ settings, archived, ...row }: Schema["project"]): Project => ({
  ...row,
  archived: archived === 1,
  settings: projectSettingsSchema.parse(JSON.parse(settings)),
});

/** Checks what the schema cannot, and raises `maxOverlap` to `overlap`. @throws InputError */
function checkSettings(settings: ProjectSettings): ProjectSettings {
  const { overlap, maxOverlap, kind, rubric } = settings;
  if (kind === "rating" && !rubric.length)
    throw new InputError("rubric: a rating project needs one criterion at least");
  return { ...settings, maxOverlap: Math.max(overlap, maxOverlap) };
}
