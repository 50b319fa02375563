import type { Transaction } from "kysely";
import { checkName } from "./names.ts";
import type { User } from "./records.ts";
import type { Scope } from "./scopes.ts";
import { newSecret, secretHash } from "./secrets.ts";
import { type LabelStore, newId, RequestError } from "./store.ts";
import type { Schema } from "./tables.ts";

// API tokens: programs send one in place of a session. Only a token's SHA-256 is stored, and never in the event log.

/** What every token begins with, so that scanners for leaked secrets recognise it. */
export const tokenPrefix = "plumbline_";

const day = 24 * 3600 * 1000;
/** `lastUsed` is written at most this often. */
const lastUsedInterval = 60_000;

/** A token as it is listed: without the token itself, which is not stored. */
export interface TokenEntry {
  id: string;
  user: { id: string; name: string };
  name: string;
  scopes: Scope[];
  /** The only project that it may be used for; null for all of its user's. */
  project: { id: string; name: string } | null;
  created: number;
  /** To the minute; null if it was never used. */
  lastUsed: number | null;
  expires: number;
}

/** Rights of a token, which its user's role limits further. */
export interface TokenRights {
  scopes: readonly Scope[];
  /** Id of the only project that it may be used for; null for all of its user's. */
  project: string | null;
}

/**
 * Creates a token of a user, and deletes expired ones.
 * @param options.days days until it expires @param options.project id of the only project that it may be used for; null for all
 * @returns the token, which cannot be read again @throws RequestError (404) if the user is no member of the project
 */
export async function createToken(
  store: LabelStore,
  user: User,
  {
    name,
    scopes,
    days,
    project,
  }: { name: string; scopes: readonly Scope[]; days: number; project: string | null },
): Promise<{ token: string; expires: number }> {
  checkName(name);
  const token = tokenPrefix + newSecret();
  const created = store.now();
  const expires = created + days * day;
  const id = newId();
  const granted = [...new Set(scopes)];
  await store.write(async (tx) => {
    if (project !== null && !(await store.roleIn(project, user, tx)))
      throw new RequestError(404, "there is no such project, or you are not a member of it");
    if (project !== null) await store.project(project, tx);
    await tx.deleteFrom("token").where("expires", "<=", created).execute();
    await tx
      .insertInto("token")
      .values({
        ...{ id, hash: secretHash(token), user: user.id, name, scopes: JSON.stringify(granted), project },
        ...{ created, lastUsed: null, expires },
      })
      .execute();
    await store.record(tx, user.id, {
      type: "token made",
      id,
      user: user.id,
      name,
      scopes: granted,
      ...(project !== null && { project }),
    });
  });
  return { token, expires };
}

/** Lists tokens that have not expired, the oldest first. @param user id of the user whose tokens are listed. Default: everybody's */
export async function listTokens(store: LabelStore, user?: string): Promise<TokenEntry[]> {
  const rows = await store.db
    .selectFrom("token")
    .innerJoin("user", "user.id", "token.user")
    .leftJoin("project", "project.id", "token.project")
    .selectAll("token")
    .select(["user.name as userName", "project.name as projectName"])
    .where("token.expires", ">", store.now())
    .$if(user !== undefined, (query) => query.where("token.user", "=", user as string))
    .orderBy("token.created")
    .orderBy("token.id")
    .execute();
  return rows.map(
    ({ id, user, userName, name, scopes, project, projectName, created, lastUsed, expires }) => ({
      ...{ id, name, created, lastUsed, expires },
      user: { id: user, name: userName },
      scopes: JSON.parse(scopes),
      project: project === null ? null : { id: project, name: projectName ?? project },
    }),
  );
}

/**
 * Revokes a token: it opens nothing from now on.
 * @param id see `listTokens` @throws RequestError (404) if there is none, or it is another user's and `actor` does not own the store
 */
export async function revokeToken(store: LabelStore, actor: User, id: string): Promise<void> {
  await store.write(async (tx) => {
    const row = await tx.selectFrom("token").select("user").where("id", "=", id).executeTakeFirst();
    if (!row || (row.user !== actor.id && actor.role !== "owner"))
      throw new RequestError(404, "there is no such token of yours; perhaps it was revoked already");
    await deleteTokens(store, tx, actor.id, row.user, id);
  });
}

/** Revokes a token of a user, or all. @param actor id of who revokes it @param id default: all of the user's tokens */
export async function deleteTokens(
  store: LabelStore,
  tx: Transaction<Schema>,
  actor: string,
  user: string,
  id?: string,
): Promise<void> {
  const deleted = await tx
    .deleteFrom("token")
    .where("user", "=", user)
    .$if(id !== undefined, (query) => query.where("id", "=", id as string))
    .returning("id")
    .execute();
  await store.record(tx, actor, ...deleted.map(({ id }) => ({ type: "token revoked" as const, id, user })));
}

/** Reads a token's user and rights. Undefined if it is wrong, revoked or expired, or the account is closed. */
export async function readToken(
  store: LabelStore,
  token: string,
): Promise<{ user: User; token: TokenRights } | undefined> {
  const now = store.now();
  const row = await store.db
    .selectFrom("token")
    .select(["id", "user", "scopes", "project", "lastUsed"])
    .where("hash", "=", secretHash(token))
    .where("expires", ">", now)
    .executeTakeFirst();
  if (!row) return undefined;
  const user = await store.user(row.user);
  if (!user.active) return undefined;
  if (row.lastUsed === null || row.lastUsed <= now - lastUsedInterval)
    await store.db.updateTable("token").set({ lastUsed: now }).where("id", "=", row.id).execute();
  return { user, token: { scopes: JSON.parse(row.scopes), project: row.project } };
}
