import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import type { Transaction } from "kysely";
import { InputError } from "../data/errors.ts";
import { includesRole, type Role } from "./events.ts";
import type { User } from "./records.ts";
import { newSecret, secretHash } from "./secrets.ts";
import { type LabelStore, RequestError, toUser } from "./store.ts";
import type { Schema } from "./tables.ts";
import { deleteTokens } from "./tokens.ts";

// Only hashes of passwords (scrypt) and tokens (SHA-256) are stored, in tables of their own and never in the event log.

const day = 24 * 3600 * 1000;
const sessionLifetime = 30 * day;
const invitationLifetime = 14 * day;
const resetLifetime = day;

const deriveKey = promisify(scrypt) as (password: string, salt: Buffer, length: number) => Promise<Buffer>;

async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  return `${salt.toString("hex")}:${(await deriveKey(password, salt, 32)).toString("hex")}`;
}

async function isPasswordCorrect(password: string, stored: string): Promise<boolean> {
  const [salt, hash] = stored.split(":").map((part) => Buffer.from(part, "hex")) as [Buffer, Buffer];
  return timingSafeEqual(await deriveKey(password, salt, hash.length), hash);
}

/** Compared with when the user name is unknown, so that the response time does not reveal which names exist. */
const dummyHash = hashPassword("");

/**
 * Creates an invitation that can be claimed once. Returns the token of its link.
 * @param project the project that the invited user joins; null for none
 */
export async function createInvitation(
  store: LabelStore,
  by: string | null,
  role: Role,
  project: string | null,
): Promise<{ token: string; expires: number }> {
  const token = newSecret();
  const expires = store.now() + invitationLifetime;
  await store.write(async (tx) => {
    await tx
      .insertInto("invitation")
      .values({ hash: secretHash(token), role, project, expires, by })
      .execute();
    await store.record(tx, by, { type: "invited", role, ...(project !== null && { project }) });
  });
  return { token, expires };
}

/** Reads the role and project of an invitation. @throws RequestError (404) if it was claimed, has expired or does not exist */
export async function readInvitation(
  store: LabelStore,
  token: string,
): Promise<{ role: Role; project: string | null }> {
  const row = await store.db
    .selectFrom("invitation")
    .select(["role", "project"])
    .where("hash", "=", secretHash(token))
    .where("expires", ">", store.now())
    .executeTakeFirst();
  if (!row) throw new RequestError(404, "this invitation was used already, or is too old: ask for another");
  return { role: row.role as Role, project: row.project };
}

/** Lists a project's open invitations, the oldest first. `id` is the beginning of the token's hash, `by` a name. */
export async function listInvitations(
  store: LabelStore,
  project: string,
): Promise<{ id: string; role: Role; expires: number; by: string | null }[]> {
  const rows = await store.db
    .selectFrom("invitation")
    .leftJoin("user", "user.id", "invitation.by")
    .select(["invitation.hash", "invitation.role", "invitation.expires", "user.name as by"])
    .where("invitation.project", "=", project)
    .where("invitation.expires", ">", store.now())
    .orderBy("invitation.expires")
    .orderBy("invitation.hash")
    .execute();
  return rows.map(({ hash, role, ...row }) => ({ ...row, id: hash.slice(0, 16), role: role as Role }));
}

/** Revokes an invitation of a project. @param id see `listInvitations` @throws RequestError (404) if it is not open */
export async function revokeInvitation(store: LabelStore, project: string, id: string): Promise<void> {
  const { numDeletedRows } = await store.write((tx) =>
    tx
      .deleteFrom("invitation")
      .where("project", "=", project)
      .where("hash", "like", `${id}%`)
      .executeTakeFirst(),
  );
  if (!numDeletedRows) throw new RequestError(404, "this invitation was used or revoked already");
}

/**
 * Claims an invitation, which cannot be claimed again. Creates an account, or gives the role to an existing user. An
 * invitation to a project gives a role in the project only; one to no project gives the role to the account.
 * @param claimant the signed-in user, or the name and password of the new account
 * @throws RequestError (409) if the user has this role or a higher one already: the invitation stays open
 */
export async function claimInvitation(
  store: LabelStore,
  token: string,
  claimant: User | { name: string; password: string },
): Promise<User> {
  const { role, project } = await readInvitation(store, token);
  const secret = "password" in claimant ? await hashPassword(claimant.password) : undefined;
  const id = await store.write(async (tx) => {
    const used = await tx.deleteFrom("invitation").where("hash", "=", secretHash(token)).executeTakeFirst();
    if (!used.numDeletedRows) throw new RequestError(404, "this invitation was used already");
    if ("id" in claimant) {
      await raiseRole(store, tx, claimant.id, role, project);
      return claimant.id;
    }
    const account = { name: claimant.name, role: project === null ? role : "labeler" };
    const user = await store.addUserInTransaction(tx, null, account);
    if (secret !== undefined) await tx.insertInto("credential").values({ user, hash: secret }).execute();
    if (project !== null) await store.record(tx, user, { type: "joined", project, user, role });
    return user;
  });
  return store.user(id);
}

/** Gives a user a role in a project, or with their account. @throws RequestError (409) if they have it or a higher one */
async function raiseRole(
  store: LabelStore,
  tx: Transaction<Schema>,
  id: string,
  role: Role,
  project: string | null,
): Promise<void> {
  const user = await store.user(id, tx);
  const current = project === null ? user.role : await store.roleIn(project, user, tx);
  if (current && includesRole(current, role))
    throw new RequestError(
      409,
      `you have the role "${current}" already: this link was not used up and can be sent to somebody else`,
    );
  await store.record(
    tx,
    id,
    project === null ? { type: "user changed", id, role } : { type: "joined", project, user: id, role },
  );
}

/** Checks a name and password. @throws InputError if they do not match an account; RequestError (403) if it is closed */
export async function signIn(store: LabelStore, name: string, password: string): Promise<User> {
  const row = await store.db
    .selectFrom("user")
    .innerJoin("credential", "credential.user", "user.id")
    .select(["user.id", "user.active", "credential.hash"])
    .where("user.name", "=", name)
    .executeTakeFirst();
  const isCorrect = await isPasswordCorrect(password, row?.hash ?? (await dummyHash));
  if (!row || !isCorrect) throw new InputError("wrong name or password");
  if (!row.active) throw new RequestError(403, "this account is closed");
  return store.user(row.id);
}

/**
 * Changes a password and ends the user's other sessions. Tokens stay, because programs depend on them.
 * @param currentToken token of the session that stays open @throws InputError if the old password is wrong
 */
export async function changePassword(
  store: LabelStore,
  user: string,
  { before, after }: { before: string; after: string },
  currentToken: string | undefined,
): Promise<void> {
  const row = await store.db
    .selectFrom("credential")
    .select("hash")
    .where("user", "=", user)
    .executeTakeFirst();
  if (!row || !(await isPasswordCorrect(before, row.hash))) throw new InputError("the old password is wrong");
  const hash = await hashPassword(after);
  await store.write((tx) => setPassword(store, tx, user, hash, currentToken));
}

/** Stores a password hash. Deletes the user's sessions, except the one of `currentToken`, and password reset links. */
async function setPassword(
  store: LabelStore,
  tx: Transaction<Schema>,
  user: string,
  hash: string,
  currentToken = "",
): Promise<void> {
  await tx
    .insertInto("credential")
    .values({ user, hash })
    .onConflict((conflict) => conflict.column("user").doUpdateSet({ hash }))
    .execute();
  await tx
    .deleteFrom("session")
    .where("user", "=", user)
    .where("hash", "<>", secretHash(currentToken))
    .execute();
  await tx.deleteFrom("reset").where("user", "=", user).execute();
  await store.record(tx, user, { type: "password changed", user });
}

/** Creates a password reset link for a user, which works once, and deletes earlier ones. Returns the link's token. */
export async function createPasswordReset(
  store: LabelStore,
  by: string,
  user: string,
): Promise<{ token: string; expires: number }> {
  await store.user(user);
  const token = newSecret();
  const expires = store.now() + resetLifetime;
  await store.write(async (tx) => {
    await tx.deleteFrom("reset").where("user", "=", user).execute();
    await tx
      .insertInto("reset")
      .values({ hash: secretHash(token), user, expires })
      .execute();
    await store.record(tx, by, { type: "password link made", user });
  });
  return { token, expires };
}

/** Reads whose password a reset link changes. @throws RequestError if it was used, has expired or does not exist */
export async function readPasswordReset(store: LabelStore, token: string): Promise<User> {
  const row = await store.db
    .selectFrom("reset")
    .select("user")
    .where("hash", "=", secretHash(token))
    .where("expires", ">", store.now())
    .executeTakeFirst();
  if (!row) throw new RequestError(404, "this link was used already, or is too old: ask for another");
  const user = await store.user(row.user);
  if (!user.active) throw new RequestError(403, "this account is closed");
  return user;
}

/**
 * Sets the password of the link's user and revokes their tokens, because somebody else may have used the account. The link
 * cannot be used again.
 */
export async function resetPassword(store: LabelStore, token: string, password: string): Promise<User> {
  const user = await readPasswordReset(store, token);
  const hash = await hashPassword(password);
  await store.write(async (tx) => {
    const used = await tx.deleteFrom("reset").where("hash", "=", secretHash(token)).executeTakeFirst();
    if (!used.numDeletedRows) throw new RequestError(404, "this link was used already");
    await setPassword(store, tx, user.id, hash);
    await deleteTokens(store, tx, user.id, user.id);
  });
  return user;
}

/** Opens a session for a user, and deletes expired ones. Returns the token for the cookie. */
export async function openSession(
  store: LabelStore,
  user: string,
): Promise<{ token: string; expires: number }> {
  const token = newSecret();
  const expires = store.now() + sessionLifetime;
  await store.db.deleteFrom("session").where("expires", "<", store.now()).execute();
  await store.db
    .insertInto("session")
    .values({ hash: secretHash(token), user, expires })
    .execute();
  return { token, expires };
}

/** Reads the user of a session; undefined if it has expired or the account is closed. */
export async function sessionUser(store: LabelStore, token: string): Promise<User | undefined> {
  const row = await store.db
    .selectFrom("session")
    .innerJoin("user", "user.id", "session.user")
    .selectAll("user")
    .where("session.hash", "=", secretHash(token))
    .where("session.expires", ">", store.now())
    .where("user.active", "=", 1)
    .executeTakeFirst();
  return row && toUser(row);
}

export async function closeSession(store: LabelStore, token: string): Promise<void> {
  await store.db.deleteFrom("session").where("hash", "=", secretHash(token)).execute();
}
