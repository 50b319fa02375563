import type { Generated } from "kysely";

// Texts and JSON are stored as JSON in text columns: Postgres refuses NUL in text and lone surrogates in its JSON types,
// and JSON escapes both. Times are milliseconds since 1970 and booleans 0 or 1, so that SQLite and Postgres hold the same
// values.

/** The event log, from which all of `ProjectionTables` are computed. */
interface EventTable {
  seq: number;
  at: number;
  actor: string | null;
  type: string;
  data: string;
  /** SHA-256 of the previous event's hash and this event. */
  hash: string;
  /** Version of the event's schema: see `upcast`. */
  version: number;
}

/** Version of the event schema that this program writes, and the newest that it reads. */
export const logVersion = 4;

interface ProjectionTables {
  user: {
    id: string;
    name: string;
    role: string;
    skills: string;
    cohort: string;
    active: number;
    since: number;
  };
  project: {
    id: string;
    name: string;
    settings: string;
    guidelines: number;
    at: number;
    /** 1 if it is archived: it takes no more tasks, and gives none to labelers. */
    archived: number;
  };
  /** Imported files. */
  import: {
    id: string;
    project: string;
    /** The file's name. */
    source: string;
    at: number;
    /** 1 if it is withdrawn: its tasks and judgements count nowhere. */
    withdrawn: number;
  };
  /** `role` is null where the account's role counts: members that joined before version 3. See `LabelStore.roleIn`. */
  member: { project: string; user: string; role: string | null };
  guidelines: { project: string; version: number; text: string; questions: string; at: number };
  qualification: {
    project: string;
    user: string;
    version: number;
    correct: number;
    total: number;
    passed: number;
    at: number;
  };
  prompt: { id: string; project: string; messages: string; skill: string | null; source: string | null };
  completion: {
    id: string;
    prompt: string;
    place: number;
    text: string;
    model: string | null;
    run: string | null;
    temperature: number | null;
    seed: number | null;
  };
  task: {
    id: string;
    project: string;
    prompt: string;
    place: number;
    skill: string | null;
    /** The known answer, as JSON. */
    gold: string | null;
    /** Number of judgements that the task needs, and has. */
    wanted: number;
    done: number;
    /** 1 if it has as many as it needs. Gold tasks are never complete. */
    complete: number;
    /** 1 if it is withdrawn: it is neither assigned nor counted nor exported. */
    withdrawn: number;
    /** Import that added it; null for one from before version 4, or from no file. */
    import: string | null;
  };
  judgement: {
    id: string;
    project: string;
    task: string;
    labeler: string;
    /** Version of the guidelines that the labeler had read. */
    version: number;
    answer: string;
    /** Stored position of the completion shown at each position, and the seed of that order. */
    order: string;
    seed: number;
    seconds: number;
    at: number;
    /** 1 if the labeler was given the task a second time, to measure consistency. */
    repeat: number;
    /** Id of the judgement that this one replaces. */
    revises: string | null;
    /** 0 if it was revised, or if its import is withdrawn; 1 otherwise. */
    current: number;
    /** Name of the file that it was imported from; null if it was made in the web app. */
    source: string | null;
    /** Import that it is from; null for one from before version 4, or made in the web app. */
    import: string | null;
  };
  adjudication: { task: string; project: string; user: string; answer: string; at: number };
}

/** Short-lived state and secrets, which are not in the log: judgements do not depend on them. */
interface OperationalTables {
  credential: { user: string; hash: string };
  session: { hash: string; user: string; expires: number };
  invitation: { hash: string; role: string; project: string | null; expires: number; by: string | null };
  /** Password reset links. */
  reset: { hash: string; user: string; expires: number };
  /** API tokens: see `tokens.ts`. `scopes` is JSON; `project` is null for all of the user's projects. */
  token: {
    id: string;
    hash: string;
    user: string;
    name: string;
    scopes: string;
    project: string | null;
    created: number;
    lastUsed: number | null;
    expires: number;
  };
  /** Failed attempts at a qualification, which are limited: see `qualification.ts`. */
  failedAttempt: { project: string; user: string; version: number; at: number };
  lease: {
    id: string;
    project: string;
    task: string;
    labeler: string;
    order: string;
    seed: number;
    repeat: number;
    draft: string | null;
    at: number;
    expires: number;
  };
}

export interface Schema extends ProjectionTables, OperationalTables {
  event: Omit<EventTable, "seq"> & { seq: Generated<number> };
}

/** Primary keys of the tables that are computed from the log. */
export const projectionKeys = {
  user: ["id"],
  project: ["id"],
  import: ["id"],
  member: ["project", "user"],
  guidelines: ["project", "version"],
  qualification: ["project", "user", "version"],
  prompt: ["id"],
  completion: ["id"],
  task: ["id"],
  judgement: ["id"],
  adjudication: ["task"],
} as const satisfies { [Table in keyof ProjectionTables]: readonly (keyof ProjectionTables[Table])[] };
