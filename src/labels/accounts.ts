import { createHash, randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import type { Transaction } from "kysely";
import { InputError } from "../data/errors.ts";
import type { Role } from "./events.ts";
import type { User } from "./records.ts";
import { type LabelStore, Refusal } from "./store.ts";
import type { Schema } from "./tables.ts";

// Passwords and tokens are kept as what cannot be turned back into them, and not in the log.

const day = 24 * 3600 * 1000;
const sessionLife = 30 * day;
const invitationLife = 14 * day;
const resetLife = day;

const derive = promisify(scrypt) as (password: string, salt: Buffer, length: number) => Promise<Buffer>;
const digest = (token: string): string => createHash("sha256").update(token).digest("hex");
const newToken = (): string => randomBytes(32).toString("base64url");

async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  return `${salt.toString("hex")}:${(await derive(password, salt, 32)).toString("hex")}`;
}

async function fits(password: string, stored: string): Promise<boolean> {
  const [salt, hash] = stored.split(":").map((part) => Buffer.from(part, "hex")) as [Buffer, Buffer];
  return timingSafeEqual(await derive(password, salt, hash.length), hash);
}

/** Hashed when a name is not known, so that an answer takes as long. */
const nobody = hashPassword("");

/** A link's token, for whoever opens it first. @param project that they will work on; none for all */
export async function invite(
  store: LabelStore,
  by: string | null,
  role: Role,
  project: string | null,
): Promise<{ token: string; expires: number }> {
  const token = newToken();
  const expires = store.now() + invitationLife;
  await store.write(async (tx) => {
    await tx
      .insertInto("invitation")
      .values({ hash: digest(token), role, project, expires, by })
      .execute();
    await store.record(tx, by, { type: "invited", role, ...(project !== null && { project }) });
  });
  return { token, expires };
}

/** What an invitation is to. @throws Refusal when it was used, has ended or never was */
export async function invitation(
  store: LabelStore,
  token: string,
): Promise<{ role: Role; project: string | null }> {
  const row = await store.db
    .selectFrom("invitation")
    .select(["role", "project"])
    .where("hash", "=", digest(token))
    .where("expires", ">", store.now())
    .executeTakeFirst();
  if (!row) throw new Refusal(404, "this invitation was used already, or is too old: ask for another");
  return { role: row.role as Role, project: row.project };
}

/** Uses an invitation up: a new account, or for somebody with one a place in the project. */
export async function claim(
  store: LabelStore,
  token: string,
  who: User | { name: string; password: string },
): Promise<User> {
  const { role, project } = await invitation(store, token);
  const secret = "password" in who ? await hashPassword(who.password) : undefined;
  const id = await store.write(async (tx) => {
    const used = await tx.deleteFrom("invitation").where("hash", "=", digest(token)).executeTakeFirst();
    if (!used.numDeletedRows) throw new Refusal(404, "this invitation was used already");
    const user = "id" in who ? who.id : await store.addUserIn(tx, null, { name: who.name, role });
    if (secret !== undefined) await tx.insertInto("credential").values({ user, hash: secret }).execute();
    if (project !== null) await store.record(tx, user, { type: "joined", project, user });
    return user;
  });
  return store.user(id);
}

/** @throws InputError when name and password do not go together */
export async function signIn(store: LabelStore, name: string, password: string): Promise<User> {
  const row = await store.db
    .selectFrom("user")
    .innerJoin("credential", "credential.user", "user.id")
    .select(["user.id", "user.active", "credential.hash"])
    .where("user.name", "=", name)
    .executeTakeFirst();
  const right = await fits(password, row?.hash ?? (await nobody));
  if (!row || !right) throw new InputError("name and password do not go together");
  if (!row.active) throw new Refusal(403, "this account is closed");
  return store.user(row.id);
}

/** @param stays the token of the session that is not ended @throws InputError when the old password is wrong */
export async function changePassword(
  store: LabelStore,
  user: string,
  { before, after }: { before: string; after: string },
  stays: string | undefined,
): Promise<void> {
  const row = await store.db
    .selectFrom("credential")
    .select("hash")
    .where("user", "=", user)
    .executeTakeFirst();
  if (!row || !(await fits(before, row.hash))) throw new InputError("the old password is not right");
  const hash = await hashPassword(after);
  await store.write((tx) => setPassword(store, tx, user, hash, stays));
}

/** Sets a password, and ends what was opened by the one before: other sessions, and links to choose another. */
async function setPassword(
  store: LabelStore,
  tx: Transaction<Schema>,
  user: string,
  hash: string,
  stays = "",
): Promise<void> {
  await tx
    .insertInto("credential")
    .values({ user, hash })
    .onConflict((conflict) => conflict.column("user").doUpdateSet({ hash }))
    .execute();
  await tx.deleteFrom("session").where("user", "=", user).where("hash", "<>", digest(stays)).execute();
  await tx.deleteFrom("reset").where("user", "=", user).execute();
  await store.record(tx, user, { type: "password changed", user });
}

/** A link's token by which a user chooses a new password, once. Earlier ones end. */
export async function offerReset(
  store: LabelStore,
  by: string,
  user: string,
): Promise<{ token: string; expires: number }> {
  await store.user(user);
  const token = newToken();
  const expires = store.now() + resetLife;
  await store.write(async (tx) => {
    await tx.deleteFrom("reset").where("user", "=", user).execute();
    await tx
      .insertInto("reset")
      .values({ hash: digest(token), user, expires })
      .execute();
    await store.record(tx, by, { type: "password link made", user });
  });
  return { token, expires };
}

/** Whom a link lets choose a password. @throws Refusal when it was used, has ended or never was */
export async function resetUser(store: LabelStore, token: string): Promise<User> {
  const row = await store.db
    .selectFrom("reset")
    .select("user")
    .where("hash", "=", digest(token))
    .where("expires", ">", store.now())
    .executeTakeFirst();
  if (!row) throw new Refusal(404, "this link was used already, or is too old: ask for another");
  const user = await store.user(row.user);
  if (!user.active) throw new Refusal(403, "this account is closed");
  return user;
}

/** Uses a link up. */
export async function resetPassword(store: LabelStore, token: string, password: string): Promise<User> {
  const user = await resetUser(store, token);
  const hash = await hashPassword(password);
  await store.write(async (tx) => {
    const used = await tx.deleteFrom("reset").where("hash", "=", digest(token)).executeTakeFirst();
    if (!used.numDeletedRows) throw new Refusal(404, "this link was used already");
    await setPassword(store, tx, user.id, hash);
  });
  return user;
}

export async function openSession(
  store: LabelStore,
  user: string,
): Promise<{ token: string; expires: number }> {
  const token = newToken();
  const expires = store.now() + sessionLife;
  await store.db.deleteFrom("session").where("expires", "<", store.now()).execute();
  await store.db
    .insertInto("session")
    .values({ hash: digest(token), user, expires })
    .execute();
  return { token, expires };
}

/** Whose session it is; undefined when it has ended or the account is closed. */
export async function sessionUser(store: LabelStore, token: string): Promise<User | undefined> {
  const row = await store.db
    .selectFrom("session")
    .select("user")
    .where("hash", "=", digest(token))
    .where("expires", ">", store.now())
    .executeTakeFirst();
  const user = row && (await store.user(row.user));
  return user?.active ? user : undefined;
}

export async function closeSession(store: LabelStore, token: string): Promise<void> {
  await store.db.deleteFrom("session").where("hash", "=", digest(token)).execute();
}
