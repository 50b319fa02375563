import type { Transaction } from "kysely";
import { InputError } from "../data/errors.ts";
import type { Project } from "./records.ts";
import { type LabelStore, RequestError } from "./store.ts";
import type { Schema } from "./tables.ts";

/** A labeler has this many failed attempts at a qualification in `attemptWindow`, so that it cannot be guessed. */
const maxAttempts = 5;
const attemptWindow = 24 * 3600 * 1000;

export interface QualificationResult {
  passed: boolean;
  correct: number;
  total: number;
  /** Attempts that the labeler has left now. */
  attemptsLeft: number;
}

/** Whether the labeler has passed the qualification of the newest guidelines, or none are published. */
export async function hasQualified(
  store: LabelStore,
  { id, guidelines }: Project,
  labeler: string,
): Promise<boolean> {
  if (!guidelines) return true;
  const row = await store.db
    .selectFrom("qualification")
    .select("passed")
    .where("project", "=", id)
    .where("user", "=", labeler)
    .where("version", "=", guidelines)
    .executeTakeFirst();
  return row?.passed === 1;
}

/**
 * Grades a qualification and records it.
 * @param answers position of the chosen option, for each question
 * @throws RequestError (429) after 5 failed attempts in 24 hours at this version of the guidelines
 */
export async function submitQualification(
  store: LabelStore,
  project: Project,
  labeler: string,
  answers: readonly number[],
): Promise<QualificationResult> {
  const guidelines = await store.guidelines(project);
  if (!guidelines) throw new RequestError(409, "this project has no guidelines yet");
  const { version, questions } = guidelines;
  if (answers.length !== questions.length)
    throw new InputError(`answers: ${questions.length} questions, ${answers.length} answers`);
  const correct = questions.filter(({ correct }, i) => answers[i] === correct).length;
  const total = questions.length;
  const passed = correct >= project.settings.passMark * total;
  return store.write(async (tx) => {
    const key = { project: project.id, user: labeler, version };
    const failed = await readFailedAttempts(store, tx, key);
    if (failed.length >= maxAttempts)
      throw new RequestError(
        429,
        `you have failed ${failed.length} times in 24 hours: read the guidelines again, and try again in ${describeDuration((failed[0] as number) + attemptWindow - store.now())}`,
      );
    await store.record(tx, labeler, { type: "qualified", ...key, correct, total, passed });
    if (!passed)
      await tx
        .insertInto("failedAttempt")
        .values({ ...key, at: store.now() })
        .execute();
    return { passed, correct, total, attemptsLeft: maxAttempts - failed.length - Number(!passed) };
  });
}

/** Reads the times of a labeler's failed attempts within the window, oldest first, and deletes everybody's older ones. */
async function readFailedAttempts(
  store: LabelStore,
  tx: Transaction<Schema>,
  { project, user, version }: { project: string; user: string; version: number },
): Promise<number[]> {
  await tx
    .deleteFrom("failedAttempt")
    .where("at", "<=", store.now() - attemptWindow)
    .execute();
  const rows = await tx
    .selectFrom("failedAttempt")
    .select("at")
    .where("project", "=", project)
    .where("user", "=", user)
    .where("version", "=", version)
    .orderBy("at")
    .execute();
  return rows.map(({ at }) => at);
}

/** Formats a duration, rounded up. */
function describeDuration(milliseconds: number): string {
  const minutes = Math.ceil(milliseconds / 60_000);
  if (minutes < 60) return minutes === 1 ? "a minute" : `${minutes} minutes`;
  const hours = Math.ceil(minutes / 60);
  return hours === 1 ? "an hour" : `${hours} hours`;
}
