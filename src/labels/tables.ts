import type { Generated } from "kysely";

// What is JSON is stored as text: Postgres takes no NUL in text and no lone surrogate in JSON, and JSON writes both as
// escapes. Times are milliseconds since 1970, booleans 0 and 1, so that both databases hold the same values.

/** The log, from which every other table of `Projected` follows. */
interface EventTable {
  seq: number;
  at: number;
  actor: string | null;
  type: string;
  data: string;
  /** SHA-256 of the event before's hash and this event. */
  hash: string;
  /** Of the event's schema: see `upcast`. */
  version: number;
}

/** Version of the events that this program records, and the newest that it reads. */
export const logVersion = 2;

interface Projected {
  user: {
    id: string;
    name: string;
    role: string;
    skills: string;
    cohort: string;
    active: number;
    since: number;
  };
  project: { id: string; name: string; settings: string; guidelines: number; at: number };
  member: { project: string; user: string };
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
    /** Judgements it is to have, and has. */
    wanted: number;
    done: number;
    /** 1 when it has them. Gold is never complete. */
    complete: number;
  };
  judgement: {
    id: string;
    project: string;
    task: string;
    labeler: string;
    /** Of the guidelines that the labeler had read. */
    version: number;
    answer: string;
    /** Which stored completion each place showed, and the seed of that order. */
    order: string;
    seed: number;
    seconds: number;
    at: number;
    /** 1 when the labeler had judged the task before, and did so again unasked for. */
    repeat: number;
    /** The judgement that this one takes the place of. */
    revises: string | null;
    /** 0 when another took its place. */
    current: number;
    /** The file that it came from; null when it was made here. */
    source: string | null;
  };
  adjudication: { task: string; project: string; user: string; answer: string; at: number };
}

/** What passes: nobody's answers depend on it later, and it holds the secrets, so it is not in the log. */
interface Operational {
  credential: { user: string; hash: string };
  session: { hash: string; user: string; expires: number };
  invitation: { hash: string; role: string; project: string | null; expires: number; by: string | null };
  /** Links by which somebody chooses a new password. */
  reset: { hash: string; user: string; expires: number };
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

export interface Schema extends Projected, Operational {
  event: Omit<EventTable, "seq"> & { seq: Generated<number> };
}

/** Tables that follow from the log, each with what its rows are told apart by. */
export const projected = {
  user: ["id"],
  project: ["id"],
  member: ["project", "user"],
  guidelines: ["project", "version"],
  qualification: ["project", "user", "version"],
  prompt: ["id"],
  completion: ["id"],
  task: ["id"],
  judgement: ["id"],
  adjudication: ["task"],
} as const satisfies { [Table in keyof Projected]: readonly (keyof Projected[Table])[] };
