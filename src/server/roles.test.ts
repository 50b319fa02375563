import type { FastifyInstance } from "fastify";
import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createInvitation, createPasswordReset, openSession } from "../labels/accounts.ts";
import type { Role } from "../labels/events.ts";
import type { User } from "../labels/records.ts";
import { type Scope, scopes } from "../labels/scopes.ts";
import { LabelStore, newId } from "../labels/store.ts";
import { createToken, listTokens } from "../labels/tokens.ts";
import { verify } from "../labels/verify.ts";
import { buildApp } from "./app.ts";
import type { Routes } from "./labels/contract.ts";

const password = "correct horse battery";

/** Milliseconds that the server's clock is put forward. */
let ahead = 0;
let store: LabelStore;
let app: FastifyInstance;
beforeAll(async () => {
  store = await LabelStore.open(":memory:", () => Date.now() + ahead);
  app = await buildApp(store);
  await addUser("owner");
});
afterAll(async () => {
  expect((await verify(store)).problems).toEqual([]);
  await app.close();
  await store.close();
});

let names = 0;
const addUser = (role: Role = "labeler") => store.addUser(null, { name: `${role} ${++names}`, role });

const join = (project: string, user: User, role?: Role) =>
  store.write((tx) =>
    store.record(tx, null, { type: "joined", project, user: user.id, ...(role && { role }) }),
  );

async function addMember(project: string, role: Role): Promise<User> {
  const user = await addUser();
  await join(project, user, role);
  return user;
}

const settings = { kind: "pairwise", goldRate: 0, repeatRate: 0 } as const;

/** A project with two tasks. */
async function addProject() {
  const project = await store.addProject(null, { name: "answers", settings });
  const tasks = await store.addTasks(
    null,
    project,
    ["one", "two"].map((content) => ({
      messages: [{ role: "user" as const, content }],
      completions: [{ text: "yes" }, { text: "no" }],
    })),
  );
  return { project: project.id, tasks: tasks as [string, string] };
}

/** Sends a request. @param session cookie of who sends it, or token; undefined for nobody */
async function send(session: string | undefined, method: string, url: string, body: object = {}) {
  const isToken = session?.startsWith("plumbline_");
  const reply = await app.inject({
    method: method as "GET",
    url,
    // An address of its own: many requests from one are slowed down.
    remoteAddress: `10.2.${names >> 8}.${names & 255}`,
    headers: isToken
      ? { authorization: `Bearer ${session}` }
      : { "x-plumbline": "1", ...(session && { cookie: `plumbline=${session}` }) },
    ...(method !== "GET" && { payload: body }),
  });
  const isJson = /^application\/json\b/.test(String(reply.headers["content-type"]));
  return { status: reply.statusCode, body: isJson ? reply.json() : undefined };
}

const sessionOf = async (user: User): Promise<string> => (await openSession(store, user.id)).token;

const tokenOf = async (user: User, scopes: Scope[], project: string | null = null, days = 90) =>
  (await createToken(store, user, { name: "script", scopes, days, project })).token;

const callers = [
  "nobody",
  "labeler",
  "labeler of another project",
  "reviewer",
  "reviewer of another project",
  "owner",
  "owner of another project",
  "owner of the store",
] as const;
type Caller = (typeof callers)[number];

// The statuses that callers get, in their order. "ok" is 200, or an error about the request's content.
const anyone = "ok ok ok ok ok ok ok ok";
const users = "401 ok ok ok ok ok ok ok";
const storeOwners = "401 403 403 403 403 403 403 ok";
const members = "401 ok 404 ok 404 ok 404 ok";
const reviewers = "401 403 404 ok 404 ok 404 ok";
const owners = "401 403 404 403 404 ok 404 ok";

type Route = keyof Routes | "GET /api/projects/:project/export";
interface Request {
  params?: Record<string, string>;
  body?: object;
  query?: string;
}
const invitationTo = async (project: string | null) =>
  (await createInvitation(store, null, "labeler", project)).token;
const resetToken = async () => {
  const { id } = await addUser();
  return (await createPasswordReset(store, id, id)).token;
};
const addImport = async (project: string) => {
  const id = newId();
  await store.write((tx) => store.record(tx, null, { type: "imported", project, id, source: "a.jsonl" }));
  return id;
};
const judged = { answer: { preference: 2 }, seconds: 1 };

/** Who may call each route, by which token, and a valid request. A route without a line here fails the first test. */
const table: Record<
  Route,
  [
    expected: string,
    /** Scope of the tokens that may call it. */
    scope: Scope | "any" | "none",
    request?: (project: string, task: string) => Promise<Request>,
  ]
> = {
  "GET /api/me": [anyone, "any"],
  "POST /api/login": [anyone, "none", async () => ({ body: { name: "nobody", password } })],
  "POST /api/logout": [anyone, "none"],
  "GET /api/invitations/:token": [
    anyone,
    "none",
    async () => ({ params: { token: await invitationTo(null) } }),
  ],
  "POST /api/claim": [
    anyone,
    "none",
    async (project) => ({
      body: { token: await invitationTo(project), name: `claimant ${++names}`, password },
    }),
  ],
  "POST /api/password": [users, "none", async () => ({ body: { before: "wrong", after: password } })],
  "GET /api/tokens": [users, "none"],
  "GET /api/tokens/all": [storeOwners, "none"],
  "POST /api/tokens": [users, "none", async () => ({ body: { name: "script", scopes: ["read"] } })],
  "DELETE /api/tokens/:id": [
    "401 404 404 404 404 404 404 ok",
    "none",
    async () => {
      const user = await addUser();
      await tokenOf(user, ["read"]);
      return { params: { id: (await listTokens(store, user.id))[0]?.id as string } };
    },
  ],
  "POST /api/users/:user/reset": [storeOwners, "none"],
  "GET /api/resets/:token": [anyone, "none", async () => ({ params: { token: await resetToken() } })],
  "POST /api/reset": [anyone, "none", async () => ({ body: { token: await resetToken(), password } })],
  "GET /api/users": [storeOwners, "read"],
  "PATCH /api/users/:user": [storeOwners, "manage", async () => ({ body: { skills: ["French"] } })],
  "GET /api/projects": [users, "any"],
  "POST /api/projects": [storeOwners, "manage", async () => ({ body: { name: "new", settings } })],
  "GET /api/projects/:project": [members, "any"],
  "PATCH /api/projects/:project": [owners, "manage", async () => ({ body: { settings } })],
  "GET /api/projects/:project/guidelines": [members, "read"],
  "POST /api/projects/:project/guidelines": [
    owners,
    "manage",
    async () => ({ body: { text: "Be fair.", questions: [] } }),
  ],
  "POST /api/projects/:project/qualification": [members, "label", async () => ({ body: { answers: [] } })],
  "POST /api/projects/:project/import": [
    owners,
    "import",
    async () => ({ body: { name: "a.jsonl", text: `{"prompt":"p","completions":["a","b"]}` } }),
  ],
  "POST /api/projects/:project/import/preview": [
    owners,
    "import",
    async () => ({ body: { name: "a.jsonl", text: `{"prompt":"p","completions":["a","b"]}` } }),
  ],
  "GET /api/projects/:project/imports": [owners, "read"],
  "PATCH /api/projects/:project/imports/:import": [
    owners,
    "manage",
    async (project) => ({ params: { import: await addImport(project) }, body: { withdrawn: true } }),
  ],
  "POST /api/projects/:project/invitations": [owners, "manage", async () => ({ body: { role: "owner" } })],
  "GET /api/projects/:project/invitations": [owners, "read"],
  "DELETE /api/projects/:project/invitations/:invitation": [
    owners,
    "manage",
    async (project) => {
      await invitationTo(project);
      const { hash } = await store.db
        .selectFrom("invitation")
        .select("hash")
        .where("project", "=", project)
        .executeTakeFirstOrThrow();
      return { params: { invitation: hash.slice(0, 16) } };
    },
  ],
  "GET /api/projects/:project/members": [owners, "read"],
  "PATCH /api/projects/:project/members/:user": [
    owners,
    "manage",
    async () => ({ body: { role: "reviewer" } }),
  ],
  "DELETE /api/projects/:project/members/:user": [owners, "manage"],
  "POST /api/projects/:project/next": [members, "label"],
  "PUT /api/leases/:lease/draft": [members, "label", async () => ({ body: { draft: 1 } })],
  "POST /api/leases/:lease/judgement": [members, "label", async () => ({ body: judged })],
  "GET /api/projects/:project/last": [members, "label"],
  "POST /api/judgements/:judgement/revision": [members, "label", async () => ({ body: judged })],
  "GET /api/projects/:project/quality": [reviewers, "read"],
  "GET /api/projects/:project/labelers": [reviewers, "read"],
  "GET /api/projects/:project/labelers/:labeler/judgements/:page": [reviewers, "read"],
  "GET /api/projects/:project/tasks/:task": [reviewers, "read"],
  "PATCH /api/projects/:project/tasks/:task": [owners, "manage", async () => ({ body: { withdrawn: true } })],
  "GET /api/projects/:project/disputes": [reviewers, "read"],
  "POST /api/projects/:project/adjudications": [
    reviewers,
    "manage",
    async (_, task) => ({ body: { task, answer: { preference: 2 } } }),
  ],
  "GET /api/projects/:project/exports": [reviewers, "read"],
  "GET /api/projects/:project/export": [reviewers, "read", async () => ({ query: "?format=judgements" })],
};

/** A project, another one, and a user for each caller. Each has a lease and a judgement in the first project. */
async function setUp() {
  const [{ project, tasks }, other] = [await addProject(), await addProject()];
  const [leased, task] = tasks;
  const users = new Map<Caller, User>();
  const held = new Map<Caller, { lease: string; judgement: string }>();
  for (const caller of callers.slice(1)) {
    const [role, elsewhere] = caller.split(" of ") as [Role, string?];
    const user = await addUser(elsewhere === "the store" ? "owner" : "labeler");
    if (elsewhere !== "the store") await join(elsewhere ? other.project : project, user, role);
    const ids = { lease: newId(), judgement: newId() };
    await hold(project, { lease: ids.lease, task: leased }, user);
    await judge(project, { judgement: ids.judgement, task }, user);
    users.set(caller, user);
    held.set(caller, ids);
  }
  return { project, other: other.project, task, users, held };
}

async function hold(project: string, { lease, task }: { lease: string; task: string }, { id }: User) {
  const [at, expires] = [Date.now(), Date.now() + 600_000];
  const row = { project, task, labeler: id, order: "[0,1]", seed: 1, repeat: 0, draft: null, at, expires };
  await store.db
    .insertInto("lease")
    .values({ id: lease, ...row })
    .execute();
}

const judge = (project: string, { judgement, task }: { judgement: string; task: string }, { id }: User) =>
  store.write((tx) =>
    store.record(tx, id, {
      type: "judged",
      id: judgement,
      project,
      task,
      labeler: id,
      version: 0,
      order: [0, 1],
      seed: 1,
      repeat: false,
      ...judged,
    }),
  );

describe("the routes", () => {
  it("all have a line in the table", async () => {
    const { paths } = (await send(undefined, "GET", "/api/openapi.json")).body;
    const served = Object.entries(paths as Record<string, object>).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ":$1")}`),
    );
    expect(Object.keys(table).sort()).toEqual(served.sort());
  });

  /** Calls a route with a valid request. @returns the status: "ok" for 200, or an error about the request's content */
  async function callRoute(
    route: string,
    { project, task, users, held }: Awaited<ReturnType<typeof setUp>>,
    caller: Caller,
    session: string | undefined,
  ): Promise<string> {
    const [method, path] = route.split(" ") as [string, string];
    const { params, body, query = "" } = (await table[route as Route][2]?.(project, task)) ?? {};
    const values: Record<string, string | undefined> = {
      ...{ project, task, labeler: users.get("labeler")?.id, page: "0" },
      ...(path.includes(":user") && { user: (await addMember(project, "labeler")).id }),
      ...(held.get(caller) ?? held.get("labeler")),
      ...params,
    };
    const url = path.replace(/:(\w+)/g, (_, name: string) => values[name] as string) + query;
    const { status } = await send(session, method, url, body);
    return [200, 400, 409].includes(status) ? "ok" : String(status);
  }

  it.each(Object.entries(table))("%s is for those who may call it", async (route, [expected]) => {
    const made = await setUp();
    const statuses: string[] = [];
    for (const caller of callers) {
      const user = made.users.get(caller);
      statuses.push(await callRoute(route, made, caller, user && (await sessionOf(user))));
    }
    expect(statuses.join(" ")).toBe(expected);
  });

  it.each(Object.entries(table))(
    "%s is for tokens of its scope, of its project",
    async (route, [, scope]) => {
      const made = await setUp();
      const owner = made.users.get("owner of the store") as User;
      const call = async (...token: Parameters<typeof tokenOf>) =>
        callRoute(route, made, "owner of the store", await tokenOf(...token));
      const statuses = new Map<string, string>();
      for (const each of scopes) statuses.set(each, await call(owner, [each]));
      expect(Object.fromEntries(statuses)).toEqual(
        Object.fromEntries(scopes.map((each) => [each, [each, "any"].includes(scope) ? "ok" : "403"])),
      );
      const isElsewhere = /:(project|lease|judgement)/.test(route);
      expect(await call(owner, [...scopes], made.other)).toBe(scope === "any" && !isElsewhere ? "ok" : "403");
      const isOpen = scope === "any" || (scope !== "none" && isElsewhere);
      expect(await call(owner, [...scopes], made.project)).toBe(isOpen ? "ok" : "403");
    },
  );
});

describe("an invitation", () => {
  const claim = async (user: User, role: Role, project: string | null) => {
    const { token } = await createInvitation(store, null, role, project);
    const { status, body } = await send(await sessionOf(user), "POST", "/api/claim", { token });
    const isOpen = (await send(undefined, "GET", `/api/invitations/${token}`)).status === 200;
    return { status, error: body.error, isOpen };
  };

  it("gives a signed-in user its role in its project only", async () => {
    const [{ project }, other] = [await addProject(), await addProject()];
    const user = await addMember(project, "labeler");
    await join(other.project, user, "labeler");
    expect(await claim(user, "reviewer", project)).toMatchObject({ status: 200, isOpen: false });
    const { body } = await send(await sessionOf(user), "GET", "/api/projects");
    expect(body).toMatchObject([
      { id: project, role: "reviewer" },
      { id: other.project, role: "labeler" },
    ]);
    expect((await store.user(user.id)).role).toBe("labeler");
  });

  it("does not lower a role, and stays open then", async () => {
    const { project } = await addProject();
    const user = await addMember(project, "reviewer");
    for (const role of ["labeler", "reviewer"] as const)
      expect(await claim(user, role, project)).toEqual({
        status: 409,
        error: expect.stringMatching(/the role "reviewer" already.*not used up/),
        isOpen: true,
      });
    expect(await store.roleIn(project, user)).toBe("reviewer");
    expect(await claim(await addUser("owner"), "owner", project)).toMatchObject({
      status: 409,
      isOpen: true,
    });
  });

  it("to no project makes an owner of the store, of a signed-in user too", async () => {
    const user = await addUser();
    expect(await claim(user, "owner", null)).toMatchObject({ status: 200, isOpen: false });
    expect((await store.user(user.id)).role).toBe("owner");
    expect(await claim(user, "owner", null)).toMatchObject({ status: 409, isOpen: true });
  });

  it("as an owner of a project gives a new account no other power", async () => {
    const { project } = await addProject();
    const { token } = await createInvitation(store, null, "owner", project);
    const { body: user } = await send(undefined, "POST", "/api/claim", { token, name: "Nora", password });
    expect(user.role).toBe("labeler");
    const { body } = await send(await sessionOf(user), "GET", "/api/projects");
    expect(body).toMatchObject([{ id: project, role: "owner" }]);
  });

  it("is listed without its token, and revoked", async () => {
    const [{ project }, other] = [await addProject(), await addProject()];
    const owner = await addMember(project, "owner");
    const session = await sessionOf(owner);
    const url = `/api/projects/${project}/invitations`;
    const { link } = (await send(session, "POST", url, { role: "reviewer" })).body;
    const token = link.split("/").at(-1) as string;
    await invitationTo(other.project);
    const listed = (await send(session, "GET", url)).body;
    expect(listed).toEqual([
      {
        id: expect.stringMatching(/^[0-9a-f]{16}$/),
        role: "reviewer",
        expires: expect.any(Number),
        by: owner.name,
      },
    ]);
    expect(JSON.stringify(listed)).not.toContain(token);
    const [{ id }] = listed;
    const revoke = async (at: string) =>
      (await send(session, "DELETE", `/api/projects/${at}/invitations/${id}`)).status;
    await join(other.project, owner, "owner");
    expect(await revoke(other.project)).toBe(404);
    expect([await revoke(project), await revoke(project)]).toEqual([200, 404]);
    expect((await send(session, "GET", url)).body).toEqual([]);
    expect((await send(undefined, "POST", "/api/claim", { token, name: "Late", password })).status).toBe(404);
  });
});

describe("a member", () => {
  it("who is removed loses the leases, and cannot save, submit or revise", async () => {
    const { project, tasks } = await addProject();
    const [owner, labeler] = [await addMember(project, "owner"), await addMember(project, "labeler")];
    const [session, owners] = [await sessionOf(labeler), await sessionOf(owner)];
    const next = async () => (await send(session, "POST", `/api/projects/${project}/next`)).body.assignment;
    const first = await next();
    expect((await send(session, "POST", `/api/leases/${first.lease}/judgement`, judged)).status).toBe(200);
    const { lease } = await next();
    const remove = () => send(owners, "DELETE", `/api/projects/${project}/members/${labeler.id}`);
    expect((await remove()).status).toBe(200);
    expect((await remove()).status).toBe(404);
    expect(await store.db.selectFrom("lease").selectAll().where("project", "=", project).execute()).toEqual(
      [],
    );
    const tried = [
      await send(session, "PUT", `/api/leases/${lease}/draft`, { draft: 1 }),
      await send(session, "POST", `/api/leases/${lease}/judgement`, judged),
      await send(session, "POST", `/api/leases/${first.lease}/judgement`, judged),
      await send(session, "POST", `/api/judgements/${first.lease}/revision`, judged),
      await send(session, "GET", `/api/projects/${project}`),
    ];
    expect(tried.map(({ status }) => status)).toEqual([404, 404, 404, 404, 404]);
    expect((await send(session, "GET", "/api/projects")).body).toEqual([]);
    // The judgement stays.
    const { judgements } = (await send(owners, "GET", `/api/projects/${project}/tasks/${first.task}`)).body;
    expect(judgements).toMatchObject([{ name: labeler.name }]);
    expect(tasks).toContain(first.task);
  });

  it("has a role that the project's owners see and change, except their own and a store owner's", async () => {
    const { project } = await addProject();
    const [owner, labeler] = [await addMember(project, "owner"), await addMember(project, "labeler")];
    const boss = await addUser("owner");
    await join(project, boss, "labeler");
    const session = await sessionOf(owner);
    const url = `/api/projects/${project}/members`;
    const change = (user: User, role: Role) => send(session, "PATCH", `${url}/${user.id}`, { role });
    expect((await change(labeler, "reviewer")).status).toBe(200);
    // Accounts of one millisecond are in any order.
    const listed = (await send(session, "GET", url)).body;
    const all = [
      { id: owner.id, name: owner.name, active: true, role: "owner" },
      { id: labeler.id, name: labeler.name, active: true, role: "reviewer" },
      { id: boss.id, name: boss.name, active: true, role: "owner" },
    ];
    expect(listed).toHaveLength(all.length);
    expect(listed).toEqual(expect.arrayContaining(all));
    expect((await change(owner, "labeler")).body.error).toMatch(/cannot step down alone/);
    expect((await send(session, "DELETE", `${url}/${owner.id}`)).status).toBe(409);
    expect((await change(boss, "labeler")).body.error).toMatch(/owner of all projects/);
    expect((await change(await addUser(), "labeler")).status).toBe(404);
  });

  it("without a role of their own, from before roles by project, has the account's", async () => {
    const [{ project }, other] = [await addProject(), await addProject()];
    const user = await addUser("reviewer");
    await join(project, user);
    const session = await sessionOf(user);
    const status = async (at: string) => (await send(session, "GET", `/api/projects/${at}/quality`)).status;
    expect([await status(project), await status(other.project)]).toEqual([200, 404]);
    expect((await send(session, "GET", "/api/projects")).body).toMatchObject([
      { id: project, role: "reviewer" },
    ]);
  });

  it("keeps the role when a file with their judgements is imported, and strangers get none", async () => {
    const { project } = await addProject();
    const [owner, reviewer] = [await addMember(project, "owner"), await addMember(project, "reviewer")];
    const stranger = await addUser();
    const text = [reviewer, stranger]
      .map(({ name }) => JSON.stringify({ prompt: "p", chosen: "a", rejected: "b", labeler: name }))
      .join("\n");
    const file = { name: "a.jsonl", text, use: "judgements" };
    const { body } = await send(await sessionOf(owner), "POST", `/api/projects/${project}/import`, file);
    expect(body.judgements).toBe(2);
    expect(await store.roleIn(project, reviewer)).toBe("reviewer");
    expect(await store.roleIn(project, stranger)).toBeUndefined();
  });
});

describe("an account", () => {
  it("that is closed loses its sessions and password links, also when it is reopened", async () => {
    const [owner, user] = [await addUser("owner"), await addUser()];
    const [owners, session] = [await sessionOf(owner), await sessionOf(user)];
    const { token } = await createPasswordReset(store, owner.id, user.id);
    for (const active of [false, true])
      expect((await send(owners, "PATCH", `/api/users/${user.id}`, { active })).status).toBe(200);
    expect((await send(session, "GET", "/api/me")).body.user).toBeNull();
    expect((await send(undefined, "GET", `/api/resets/${token}`)).status).toBe(404);
    expect((await send(await sessionOf(user), "GET", "/api/me")).body.user.id).toBe(user.id);
  });

  it("of the last owner can be neither closed nor demoted, and no owner's by themself", async () => {
    const alone = await LabelStore.open(":memory:");
    const [first, second] = [
      await alone.addUser(null, { name: "first", role: "owner" }),
      await alone.addUser(null, { name: "second", role: "owner" }),
    ];
    // Each closes the other at the same moment.
    const both = await Promise.allSettled([
      alone.changeUser(first.id, second.id, { active: false }),
      alone.changeUser(second.id, first.id, { role: "labeler" }),
    ]);
    expect(both.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(String((both[1] as PromiseRejectedResult).reason)).toMatch(/the last owner/);
    expect((await verify(alone)).problems).toEqual([]);
    await alone.close();
    const owner = await addUser("owner");
    const change = async (body: object) =>
      (await send(await sessionOf(owner), "PATCH", `/api/users/${owner.id}`, body)).status;
    expect([await change({ active: false }), await change({ role: "labeler" })]).toEqual([409, 409]);
  });
});

describe("a token", () => {
  const day = 24 * 3600_000;

  it("is made, shown once, listed without itself, and revoked", async () => {
    const { project } = await addProject();
    const [user, other] = [await addMember(project, "reviewer"), await addMember(project, "labeler")];
    const [session, owners] = [await sessionOf(user), await sessionOf(await addUser("owner"))];
    const body = { name: "nightly export", scopes: ["read"], project };
    const made = await send(session, "POST", "/api/tokens", body);
    expect(made.body.token).toMatch(/^plumbline_[\w-]{43}$/);
    expect(Math.abs(made.body.expires - Date.now() - 90 * day)).toBeLessThan(60_000);
    const { token } = made.body;
    const list = async (of: string, path = "/api/tokens") => (await send(of, "GET", path)).body;
    const [listed] = await list(session);
    expect(listed).toMatchObject({ name: "nightly export", scopes: ["read"], project: { id: project } });
    expect(listed.lastUsed).toBeNull();
    expect(JSON.stringify(await list(owners, "/api/tokens/all"))).toContain(listed.id);
    expect(await list(await sessionOf(other))).toEqual([]);
    expect((await send(token, "GET", `/api/projects/${project}/quality`)).status).toBe(200);
    // The database has its hash alone, and so have the log and the lists.
    const tables = await sql<{ name: "user" }>`select name from sqlite_master where type = 'table'`.execute(
      store.db,
    );
    for (const { name } of tables.rows) {
      const rows = await store.db.selectFrom(name).selectAll().execute();
      expect(JSON.stringify(rows), name).not.toContain(token.slice("plumbline_".length));
    }
    const remove = (by: string) => send(by, "DELETE", `/api/tokens/${listed.id}`);
    expect((await remove(await sessionOf(other))).status).toBe(404);
    expect([(await remove(owners)).status, (await remove(session)).status]).toEqual([200, 404]);
    const refused = await send(token, "GET", `/api/projects/${project}/quality`);
    expect([refused.status, refused.body.error]).toEqual([
      401,
      expect.stringMatching(/wrong, revoked or exp/),
    ]);
    const logged = await store.db
      .selectFrom("event")
      .select(["data", "version"])
      .where("type", "like", "token %")
      .where("data", "like", `%${listed.id}%`)
      .orderBy("seq")
      .execute();
    expect(logged.map(({ data }) => JSON.parse(data))).toEqual([
      { type: "token made", id: listed.id, user: user.id, name: "nightly export", scopes: ["read"], project },
      { type: "token revoked", id: listed.id, user: user.id },
    ]);
  });

  it("needs a name, scopes and a project of its user, and expires in a year at most", async () => {
    const { project } = await addProject();
    const session = await sessionOf(await addUser());
    const make = async (body: object) => {
      const all = { name: "script", scopes: ["read"], ...body };
      const { status, body: reply } = await send(session, "POST", "/api/tokens", all);
      return `${status} ${reply.error ?? ""}`;
    };
    expect(await make({ days: 365 })).toBe("200 ");
    expect(await make({ days: 366 })).toMatch(/^400 days/);
    expect(await make({ scopes: [] })).toMatch(/^400 scopes/);
    expect(await make({ scopes: ["all"] })).toMatch(/^400 scopes/);
    expect(await make({ name: "" })).toMatch(/^400 name/);
    expect(await make({ project })).toMatch(/^404/);
  });

  it("has no more power than its user's role in a project, which may change", async () => {
    const { project } = await addProject();
    const user = await addMember(project, "labeler");
    const token = await tokenOf(user, [...scopes]);
    const status = async (path: string) =>
      (await send(token, "GET", `/api/projects/${project}${path}`)).status;
    expect([await status(""), await status("/quality"), await status("/members")]).toEqual([200, 403, 403]);
    await join(project, user, "owner");
    expect([await status("/quality"), await status("/members")]).toEqual([200, 200]);
    await store.write((tx) => store.record(tx, null, { type: "left", project, user: user.id }));
    expect(await status("")).toBe(404);
  });

  it("says which scope it lacks, and cannot make tokens or export the log of all projects", async () => {
    const { project } = await addProject();
    const owner = await addUser("owner");
    const token = await tokenOf(owner, ["read", "import"], project);
    const refused = await send(token, "POST", `/api/projects/${project}/next`);
    expect([refused.status, refused.body.error]).toEqual([403, expect.stringMatching(/scope "label"/)]);
    const made = await send(token, "POST", "/api/tokens", { name: "more", scopes: ["manage"] });
    expect([made.status, made.body.error]).toEqual([403, expect.stringMatching(/sign in/)]);
    const log = (by: string) => send(by, "GET", `/api/projects/${project}/export?format=log`);
    expect((await log(token)).status).toBe(403);
    expect((await log(await tokenOf(owner, ["read"]))).status).toBe(200);
    expect((await send(token, "GET", "/api/projects")).body.map(({ id }: { id: string }) => id)).toEqual([
      project,
    ]);
  });

  it("works until it expires, its account is closed or its password is reset", async () => {
    const owner = await addUser("owner");
    const [user, closed, lost] = [await addUser(), await addUser(), await addUser()];
    const works = async (token: string) => {
      const { status, body } = await send(token, "GET", "/api/me");
      return status === 200 ? body.user.id : status;
    };
    const token = await tokenOf(user, ["read"], null, 2);
    const [ofClosed, ofLost] = [await tokenOf(closed, ["read"]), await tokenOf(lost, ["read"])];
    expect(await Promise.all([token, ofClosed, ofLost].map(works))).toEqual([user.id, closed.id, lost.id]);
    // Without an event or deletion, as in a store that another program has changed: a closed account's tokens are idle.
    await store.db.updateTable("user").set({ active: 0 }).where("id", "=", closed.id).execute();
    expect(await works(ofClosed)).toBe(401);
    await store.db.updateTable("user").set({ active: 1 }).where("id", "=", closed.id).execute();
    for (const active of [false, true]) await store.changeUser(owner.id, closed.id, { active });
    expect(await works(ofClosed)).toBe(401);
    const reset = (await createPasswordReset(store, owner.id, lost.id)).token;
    expect((await send(undefined, "POST", "/api/reset", { token: reset, password })).status).toBe(200);
    expect(await works(ofLost)).toBe(401);
    ahead = 2 * day + 1000;
    expect(await works(token)).toBe(401);
    expect(await listTokens(store, user.id)).toEqual([]);
    ahead = 0;
  });

  it("stays when its user changes the password", async () => {
    const { token: invitation } = await createInvitation(store, null, "labeler", null);
    const { body: user } = await send(undefined, "POST", "/api/claim", {
      token: invitation,
      name: "Tom",
      password,
    });
    const token = await tokenOf(user, ["read"]);
    const change = { before: password, after: "another good one" };
    expect((await send(await sessionOf(user), "POST", "/api/password", change)).status).toBe(200);
    expect((await send(token, "GET", "/api/me")).body.user.id).toBe(user.id);
  });

  it("notes its last use once a minute at most", async () => {
    const user = await addUser();
    const token = await tokenOf(user, ["read"]);
    const used = async () => (await listTokens(store, user.id))[0]?.lastUsed;
    const start = Date.now() + 1000;
    const useAt = async (after: number) => {
      ahead = start + after - Date.now();
      await send(token, "GET", "/api/me");
      return (await used()) as number;
    };
    const first = await useAt(0);
    expect(await useAt(59_000)).toBe(first);
    expect(await useAt(61_000)).toBeGreaterThan(first + 60_000);
    ahead = 0;
  });

  it("is described by the OpenAPI document", async () => {
    const { components, paths } = (await send(undefined, "GET", "/api/openapi.json")).body;
    expect(components.securitySchemes.token).toMatchObject({ type: "http", scheme: "bearer" });
    const next = paths["/api/projects/{project}/next"].post;
    expect(next).toMatchObject({ security: [{ session: [] }, { token: [] }] });
    expect(next.description).toMatch(/"?label"?/);
    expect(paths["/api/tokens"].post.security).toEqual([{ session: [] }]);
  });

  it("beside a session decides alone, and other bearers are ignored", async () => {
    const [user, other] = [await addUser(), await addUser()];
    const cookie = `plumbline=${await sessionOf(user)}`;
    const me = async (authorization: string) => {
      const reply = await app.inject({ url: "/api/me", headers: { cookie, authorization } });
      return reply.statusCode === 200 ? reply.json().user.id : reply.statusCode;
    };
    expect(await me(`Bearer ${await tokenOf(other, ["read"])}`)).toBe(other.id);
    expect(await me("Bearer plumbline_wrong")).toBe(401);
    // A proxy's.
    expect(await me("Bearer eyJhbGciOiJIUzI1NiJ9.e30.e30")).toBe(user.id);
    expect(await me("Basic dTpw")).toBe(user.id);
  });

  it("is limited by user, and a wrong one by address", async () => {
    const limited = await LabelStore.open(":memory:");
    const server = await buildApp(limited);
    const user = await limited.addUser(null, { name: "busy", role: "labeler" });
    const options = { name: "script", scopes: ["read" as const], days: 1, project: null };
    const { token } = await createToken(limited, user, options);
    const left = async (authorization: string, remoteAddress: string) =>
      Number(
        (await server.inject({ url: "/api/me", remoteAddress, headers: { authorization } })).headers[
          "x-ratelimit-remaining"
        ],
      );
    const first = await left(`Bearer ${token}`, "10.0.0.1");
    expect(await left(`Bearer ${token}`, "10.0.0.2")).toBe(first - 1);
    expect(await left("Bearer plumbline_a", "10.0.0.2")).toBe(first);
    expect(await left("Bearer plumbline_b", "10.0.0.2")).toBe(first - 1);
    await server.close();
    await limited.close();
  });
});
