import type { Transaction } from "kysely";
import { effectiveRole, type Role } from "./events.ts";
import type { Project, User } from "./records.ts";
import { type LabelStore, RequestError, toProject } from "./store.ts";
import type { Schema } from "./tables.ts";

// The people of a project. Their roles there are read by `LabelStore.roleIn`.

type Tx = Transaction<Schema>;

/** Lists a project's members with their roles in it, in the order of their accounts. */
export async function listMembers(
  store: LabelStore,
  project: string,
): Promise<{ id: string; name: string; active: boolean; role: Role }[]> {
  const rows = await store.db
    .selectFrom("member")
    .innerJoin("user", "user.id", "member.user")
    .select(["user.id", "user.name", "user.active", "user.role as account", "member.role"])
    .where("member.project", "=", project)
    .orderBy("user.since")
    .orderBy("user.id")
    .execute();
  return rows.map(({ id, name, active, account, role }) => ({
    id,
    name,
    active: active === 1,
    role: effectiveRole(account, role),
  }));
}

/** Changes a member's role in a project. @throws RequestError if they are no member (404), or own the store (409) */
export async function changeMember(
  store: LabelStore,
  actor: string,
  project: string,
  user: string,
  role: Role,
): Promise<void> {
  await store.write(async (tx) => {
    const account = await findMember(tx, project, user);
    if (account.role === "owner")
      throw new RequestError(409, "this is an owner of all projects: an owner can change that under People");
    await store.record(tx, actor, { type: "joined", project, user, role });
  });
}

/** Removes a member from a project and ends their leases in it. Their judgements stay. @throws RequestError (404) */
export async function removeMember(
  store: LabelStore,
  actor: string,
  project: string,
  user: string,
): Promise<void> {
  await store.write(async (tx) => {
    await findMember(tx, project, user);
    await store.record(tx, actor, { type: "left", project, user });
    await tx.deleteFrom("lease").where("project", "=", project).where("labeler", "=", user).execute();
  });
}

/** Reads the account role of a project's member. @throws RequestError (404) if there is no such member */
async function findMember(tx: Tx, project: string, user: string): Promise<{ role: string }> {
  const row = await tx
    .selectFrom("member")
    .innerJoin("user", "user.id", "member.user")
    .select("user.role")
    .where("member.project", "=", project)
    .where("member.user", "=", user)
    .executeTakeFirst();
  if (!row) throw new RequestError(404, "there is no such member of this project");
  return row;
}

/** What a request is about: a project, or a lease or judgement in it. A judged lease's id is the judgement's. */
export interface ProjectReference {
  project?: string;
  lease?: string;
  judgement?: string;
}

/** Reads a project and a user's role in it, in one query; undefined if there is no such project. See `LabelStore.roleIn`. */
export async function projectAndRole(
  store: LabelStore,
  { project, lease, judgement }: ProjectReference,
  user: User,
): Promise<{ project: Project; role: Role | undefined } | undefined> {
  const item = lease ?? judgement;
  if (project === undefined && item === undefined) return undefined;
  const select = store.db
    .selectFrom("project")
    .leftJoin("member", (join) =>
      join.onRef("member.project", "=", "project.id").on("member.user", "=", user.id),
    )
    .selectAll("project")
    .select(["member.user as member", "member.role as memberRole"]);
  const inTable = (table: "lease" | "judgement") =>
    select.where("project.id", "=", ({ selectFrom }) =>
      selectFrom(table)
        .select("project")
        .where("id", "=", item as string),
    );
  const row =
    project !== undefined
      ? await select.where("project.id", "=", project).executeTakeFirst()
      : ((await inTable("lease").executeTakeFirst()) ?? (await inTable("judgement").executeTakeFirst()));
  if (!row) return undefined;
  const { member, memberRole, ...found } = row;
  const isMember = user.role === "owner" || member !== null;
  return { project: toProject(found), role: isMember ? effectiveRole(user.role, memberRole) : undefined };
}
