import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createInvitation, createPasswordReset, openSession } from "../labels/accounts.ts";
import type { Role } from "../labels/events.ts";
import type { User } from "../labels/records.ts";
import { LabelStore, newId } from "../labels/store.ts";
import { verify } from "../labels/verify.ts";
import { buildApp } from "./app.ts";
import type { Routes } from "./labels/contract.ts";

const password = "correct horse battery";

let store: LabelStore;
let app: FastifyInstance;
beforeAll(async () => {
  store = await LabelStore.open(":memory:");
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

/** Sends a request. @param session cookie of who sends it; undefined for nobody */
async function send(session: string | undefined, method: string, url: string, body: object = {}) {
  const reply = await app.inject({
    method: method as "GET",
    url,
    // An address of its own: many requests from one are slowed down.
    headers: {
      "x-plumbline": "1",
      "x-forwarded-for": `10.2.${names >> 8}.${names & 255}`,
      ...(session && { cookie: `plumbline=${session}` }),
    },
    ...(method !== "GET" && { payload: body }),
  });
  const isJson = /^application\/json\b/.test(String(reply.headers["content-type"]));
  return { status: reply.statusCode, body: isJson ? reply.json() : undefined };
}

const sessionOf = async (user: User): Promise<string> => (await openSession(store, user.id)).token;

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

/** Who may call each route, and a valid request. A route without a line here fails the first test. */
const table: Record<
  Route,
  [expected: string, request?: (project: string, task: string) => Promise<Request>]
> = {
  "GET /api/me": [anyone],
  "POST /api/login": [anyone, async () => ({ body: { name: "nobody", password } })],
  "POST /api/logout": [anyone],
  "GET /api/invitations/:token": [anyone, async () => ({ params: { token: await invitationTo(null) } })],
  "POST /api/claim": [
    anyone,
    async (project) => ({
      body: { token: await invitationTo(project), name: `claimant ${++names}`, password },
    }),
  ],
  "POST /api/password": [users, async () => ({ body: { before: "wrong", after: password } })],
  "POST /api/users/:user/reset": [storeOwners],
  "GET /api/resets/:token": [anyone, async () => ({ params: { token: await resetToken() } })],
  "POST /api/reset": [anyone, async () => ({ body: { token: await resetToken(), password } })],
  "GET /api/users": [storeOwners],
  "PATCH /api/users/:user": [storeOwners, async () => ({ body: { skills: ["French"] } })],
  "GET /api/projects": [users],
  "POST /api/projects": [storeOwners, async () => ({ body: { name: "new", settings } })],
  "GET /api/projects/:project": [members],
  "PATCH /api/projects/:project": [owners, async () => ({ body: { settings } })],
  "GET /api/projects/:project/guidelines": [members],
  "POST /api/projects/:project/guidelines": [
    owners,
    async () => ({ body: { text: "Be fair.", questions: [] } }),
  ],
  "POST /api/projects/:project/qualification": [members, async () => ({ body: { answers: [] } })],
  "POST /api/projects/:project/import": [
    owners,
    async () => ({ body: { name: "a.jsonl", text: `{"prompt":"p","completions":["a","b"]}` } }),
  ],
  "POST /api/projects/:project/import/preview": [
    owners,
    async () => ({ body: { name: "a.jsonl", text: `{"prompt":"p","completions":["a","b"]}` } }),
  ],
  "GET /api/projects/:project/imports": [owners],
  "PATCH /api/projects/:project/imports/:import": [
    owners,
    async (project) => ({ params: { import: await addImport(project) }, body: { withdrawn: true } }),
  ],
  "POST /api/projects/:project/invitations": [owners, async () => ({ body: { role: "owner" } })],
  "GET /api/projects/:project/invitations": [owners],
  "DELETE /api/projects/:project/invitations/:invitation": [
    owners,
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
  "GET /api/projects/:project/members": [owners],
  "PATCH /api/projects/:project/members/:user": [owners, async () => ({ body: { role: "reviewer" } })],
  "DELETE /api/projects/:project/members/:user": [owners],
  "POST /api/projects/:project/next": [members],
  "PUT /api/leases/:lease/draft": [members, async () => ({ body: { draft: 1 } })],
  "POST /api/leases/:lease/judgement": [members, async () => ({ body: judged })],
  "GET /api/projects/:project/last": [members],
  "POST /api/judgements/:judgement/revision": [members, async () => ({ body: judged })],
  "GET /api/projects/:project/quality": [reviewers],
  "GET /api/projects/:project/labelers": [reviewers],
  "GET /api/projects/:project/labelers/:labeler/judgements/:page": [reviewers],
  "GET /api/projects/:project/tasks/:task": [reviewers],
  "PATCH /api/projects/:project/tasks/:task": [owners, async () => ({ body: { withdrawn: true } })],
  "GET /api/projects/:project/disputes": [reviewers],
  "POST /api/projects/:project/adjudications": [
    reviewers,
    async (_, task) => ({ body: { task, answer: { preference: 2 } } }),
  ],
  "GET /api/projects/:project/export": [reviewers, async () => ({ query: "?format=judgements" })],
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
  return { project, task, users, held };
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

  it.each(Object.entries(table))("%s is for those who may call it", async (route, [expected, request]) => {
    const { project, task, users, held } = await setUp();
    const [method, path] = route.split(" ") as [string, string];
    const labeler = users.get("labeler")?.id;
    const statuses: string[] = [];
    for (const caller of callers) {
      const user = users.get(caller);
      const { params, body, query = "" } = (await request?.(project, task)) ?? {};
      const values: Record<string, string | undefined> = {
        ...{ project, task, labeler, page: "0" },
        ...(path.includes(":user") && { user: (await addMember(project, "labeler")).id }),
        ...(held.get(caller) ?? held.get("labeler")),
        ...params,
      };
      const url = path.replace(/:(\w+)/g, (_, name: string) => values[name] as string) + query;
      const { status } = await send(user && (await sessionOf(user)), method, url, body);
      statuses.push([200, 400, 409].includes(status) ? "ok" : String(status));
    }
    expect(statuses.join(" ")).toBe(expected);
  });
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
