import { gzipSync } from "node:zlib";
import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeRows, encodings, parseRows } from "../data/tables.ts";
import { createInvitation } from "../labels/accounts.ts";
import { LabelStore } from "../labels/store.ts";
import { verify } from "../labels/verify.ts";
import { buildApp } from "./app.ts";

const password = "correct horse battery";
const hostile = "\u0000</script><script>alert(1)</script>\u202e 👩‍💻 שלום \ud800";

/** Milliseconds that the server's clock is put forward. */
let ahead = 0;
let store: LabelStore;
let app: FastifyInstance;
beforeAll(async () => {
  store = await LabelStore.open(":memory:", () => Date.now() + ahead);
  app = await buildApp(store, { trustProxy: "loopback" });
});
afterAll(async () => {
  expect((await verify(store)).problems).toEqual([]);
  await app.close();
  await store.close();
});

/** A browser: it keeps the cookie, and sends what our pages send. */
function browser() {
  let cookie = "";
  return async (
    method: "GET" | "POST" | "PATCH" | "PUT",
    url: string,
    body?: unknown,
    headers: object = {},
  ) => {
    const reply = await app.inject({
      method,
      url,
      headers: { ...(method !== "GET" && { "x-plumbline": "1" }), ...(cookie && { cookie }), ...headers },
      ...(method !== "GET" && { payload: (body ?? {}) as object }),
    });
    const set = reply.headers["set-cookie"];
    if (set) cookie = String(set).split(";")[0] as string;
    const isJson = /^application\/json\b/.test(String(reply.headers["content-type"]));
    const found = isJson ? reply.json() : undefined;
    return { status: reply.statusCode, body: found, bytes: reply.rawPayload, headers: reply.headers };
  };
}
type Browser = ReturnType<typeof browser>;

let addresses = 0;
async function account(role: "owner" | "reviewer" | "labeler", name: string, project: string | null = null) {
  const request = browser();
  const { token } = await createInvitation(store, null, role, project);
  // Each from an address of their own: one that makes many is slowed down.
  const from = { "x-forwarded-for": `10.1.0.${++addresses}` };
  const { status, body } = await request("POST", "/api/claim", { token, name, password }, from);
  expect(status).toBe(200);
  return { request, user: body };
}

const jsonl = (rows: object[]) => rows.map((row) => JSON.stringify(row)).join("\n");
const pairs = (n: number) =>
  jsonl(
    Array.from({ length: n }, (_, i) => ({
      prompt: `question ${i}`,
      chosen: `good ${i}`,
      rejected: `bad ${i}`,
    })),
  );

async function makeProject(request: Browser, settings: object = {}, rows = pairs(6)): Promise<string> {
  const made = await request("POST", "/api/projects", {
    name: "answers",
    settings: { kind: "pairwise", goldRate: 0, repeatRate: 0, ...settings },
  });
  expect(made.status).toBe(200);
  const { id } = made.body;
  const { status, body } = await request("POST", `/api/projects/${id}/import`, {
    name: "pairs.jsonl",
    text: rows,
  });
  expect([status, body.dropped]).toEqual([200, {}]);
  return id;
}

describe("accounts", () => {
  it("are made by invitation, once, and opened by name and password", async () => {
    const { token } = await createInvitation(store, null, "owner", null);
    const request = browser();
    expect((await request("GET", `/api/invitations/${token}`)).body).toEqual({
      role: "owner",
      project: null,
    });
    expect(
      (await request("POST", "/api/claim", { token, name: "ann", password: "short" })).body.error,
    ).toMatch(/password: at least 10/);
    const [first, second] = await Promise.all(
      ["ann", "ann2"].map((name) => browser()("POST", "/api/claim", { token, name, password })),
    );
    expect([first?.status, second?.status].sort()).toEqual([200, 404]);
    const name = first?.status === 200 ? "ann" : "ann2";
    expect((await store.users()).filter((user) => user.name.startsWith("ann"))).toHaveLength(1);
    expect((await request("GET", "/api/me")).body).toEqual({ user: null });
    expect((await request("POST", "/api/login", { name, password: "wrong password" })).body.error).toMatch(
      /wrong name or password/,
    );
    expect((await request("POST", "/api/login", { name: "nobody", password })).body.error).toMatch(
      /wrong name or password/,
    );
    const { status, headers } = await request("POST", "/api/login", { name, password });
    expect(status).toBe(200);
    expect(String(headers["set-cookie"])).toMatch(/HttpOnly; SameSite=Strict/);
    expect((await request("GET", "/api/me")).body.user.name).toBe(name);
    await request("POST", "/api/logout");
    expect((await request("GET", "/api/me")).body).toEqual({ user: null });
  });

  it("that are closed by an owner cannot sign in", async () => {
    const { request: owner } = await account("owner", "closer");
    const { request, user } = await account("labeler", "closed");
    expect((await request("GET", "/api/projects")).status).toBe(200);
    await owner("PATCH", `/api/users/${user.id}`, { active: false });
    expect((await request("GET", "/api/projects")).status).toBe(401);
    expect((await request("POST", "/api/login", { name: "closed", password })).status).toBe(403);
  });

  it("change their password if they know the old one, and are signed out elsewhere", async () => {
    const { request } = await account("labeler", "changer");
    const elsewhere = browser();
    await elsewhere("POST", "/api/login", { name: "changer", password });
    const change = (before: string, after: string, from: Browser = request) =>
      from("POST", "/api/password", { before, after });
    const wrong = await change("wrong password", "another good one");
    expect([wrong.status, wrong.body.error]).toEqual([400, "the old password is wrong"]);
    expect((await change(password, "short")).body.error).toMatch(/after: at least 10/);
    expect((await change(password, "another good one", browser())).status).toBe(401);
    expect((await elsewhere("GET", "/api/me")).body.user.name).toBe("changer");
    expect((await change(password, "another good one")).status).toBe(200);
    expect((await request("GET", "/api/me")).body.user.name).toBe("changer");
    expect((await elsewhere("GET", "/api/me")).body.user).toBeNull();
    const signIn = async (given: string) =>
      (await browser()("POST", "/api/login", { name: "changer", password: given })).status;
    expect([await signIn(password), await signIn("another good one")]).toEqual([400, 200]);
  });

  it("get a new password by an owner's link, once", async () => {
    const { request: owner, user: helper } = await account("owner", "helper");
    const { request, user } = await account("labeler", "forgetful");
    const { request: reviewer } = await account("reviewer", "no helper");
    const make = async (from: Browser) => from("POST", `/api/users/${user.id}/reset`);
    for (const from of [request, reviewer]) expect((await make(from)).status).toBe(403);
    expect((await make(browser())).status).toBe(401);
    const tokenOf = async () => (await make(owner)).body.link.match(/\/reset\/(.+)$/)[1] as string;
    const [earlier, token] = [await tokenOf(), await tokenOf()];
    const reset = (token: string, password: string) => browser()("POST", "/api/reset", { token, password });
    expect((await reset(earlier, "a new password")).status).toBe(404);
    expect((await browser()("GET", `/api/resets/${token}`)).body).toEqual({ name: "forgetful" });
    expect((await reset(token, "short")).status).toBe(400);
    const both = await Promise.all(["a new password", "b new password"].map((one) => reset(token, one)));
    expect(both.map(({ status }) => status).sort()).toEqual([200, 404]);
    expect((await reset(token, "c new password")).status).toBe(404);
    expect((await browser()("GET", `/api/resets/${token}`)).status).toBe(404);
    // Whoever was signed in by the old one is no more.
    expect((await request("GET", "/api/me")).body.user).toBeNull();
    const logged = await store.db
      .selectFrom("event")
      .select(["type", "actor"])
      .where("data", "like", `%${user.id}%`)
      .where("type", "like", "password%")
      .execute();
    const made = { type: "password link made", actor: helper.id };
    expect(logged).toEqual([made, made, { type: "password changed", actor: user.id }]);
    const chosen = both[0]?.status === 200 ? "a new password" : "b new password";
    const signIn = async (given: string) =>
      (await browser()("POST", "/api/login", { name: "forgetful", password: given })).status;
    expect([await signIn(password), await signIn(chosen)]).toEqual([400, 200]);
  });

  it("get no new password by an expired link, or when closed", async () => {
    const { request: owner } = await account("owner", "late helper");
    const { user } = await account("labeler", "late");
    const offer = async () =>
      (await owner("POST", `/api/users/${user.id}/reset`)).body.link.split("/").at(-1) as string;
    const reset = async (token: string) =>
      (await browser()("POST", "/api/reset", { token, password: "a new password" })).status;
    const token = await offer();
    ahead = 24 * 3600_000 + 1000;
    expect(await reset(token)).toBe(404);
    ahead = 0;
    expect((await browser()("GET", `/api/resets/${token}`)).status).toBe(200);
    await owner("PATCH", `/api/users/${user.id}`, { active: false });
    expect(await reset(token)).toBe(404);
  });

  it("limit attempts to guess the old password", async () => {
    const { request } = await account("labeler", "guessed");
    const from = { "x-forwarded-for": "10.0.0.8" };
    const statuses = [];
    for (let i = 0; i < 21; i++)
      statuses.push(
        (await request("POST", "/api/password", { before: `guess ${i}`, after: "another good one" }, from))
          .status,
      );
    expect(statuses).toEqual([...Array(20).fill(400), 429]);
  });

  it("keep secrets out of the log and of every answer", async () => {
    const all = JSON.stringify(await store.db.selectFrom("event").selectAll().execute());
    expect(all).not.toMatch(/hash":"[0-9a-f]{32}:|correct horse/);
    const hashes = (await store.db.selectFrom("credential").select("hash").execute()).map(({ hash }) => hash);
    for (const hash of hashes) expect(all).not.toContain(hash);
  });
});

describe("the server", () => {
  it("refuses requests that another site's page could send", async () => {
    const { request } = await account("owner", "forged");
    const send = (headers: object) => request("POST", "/api/logout", {}, headers);
    expect((await send({ "x-plumbline": "0" })).status).toBe(403);
    expect((await send({ origin: "https://evil.example" })).status).toBe(403);
    expect((await send({ origin: "null" })).status).toBe(403);
    expect((await send({ origin: "http://localhost:80" })).status).toBe(200);
  });

  it("limits attempts to guess passwords", async () => {
    const request = browser();
    const statuses = [];
    for (let i = 0; i < 25; i++)
      statuses.push(
        (
          await request(
            "POST",
            "/api/login",
            { name: "ann", password: `guess ${i}` },
            { "x-forwarded-for": "10.0.0.9" },
          )
        ).status,
      );
    expect(statuses.slice(-3)).toEqual([429, 429, 429]);
  });

  it("sends a content security policy without inline scripts", async () => {
    const { headers } = await browser()("GET", "/api/me");
    expect(headers["content-security-policy"]).toMatch(
      /default-src 'self'.*object-src 'none'.*frame-ancestors 'none'/,
    );
  });

  it("reports invalid fields of a request by name", async () => {
    const { request } = await account("owner", "mistaken");
    const cases: [object, RegExp][] = [
      [{ name: "x", settings: { kind: "rankin" } }, /settings\.kind/],
      [{ name: "x", settings: { kind: "ranking", overlap: 0 } }, /settings\.overlap/],
      [{ name: "x", settings: { kind: "ranking", overlp: 2 } }, /overlp/],
      [{ name: "x", settings: { kind: "rating" } }, /rubric/],
      [
        { name: "x", settings: { kind: "rating", rubric: [{ name: "a" }, { name: "a" }] } },
        /rubric: two criteria/,
      ],
    ];
    for (const [body, why] of cases) {
      const reply = await request("POST", "/api/projects", body);
      expect([reply.status, reply.body.error]).toEqual([400, expect.stringMatching(why)]);
    }
    // No database keeps NUL.
    expect((await request("GET", "/api/projects/a%00b")).status).toBe(400);
    expect((await request("POST", "/api/login", { name: "a\0", password })).status).toBe(400);
    const project = await makeProject(request);
    const wrong = await request("POST", `/api/projects/${project}/import`, { name: "a.jsonl", text: "{" });
    expect([wrong.status, wrong.body.error]).toEqual([
      400,
      expect.stringMatching(/a\.jsonl:1: not valid JSON/),
    ]);
  });

  it("describes itself as OpenAPI", async () => {
    const { body } = await browser()("GET", "/api/openapi.json");
    expect(body.openapi).toMatch(/^3/);
    expect(Object.keys(body.paths)).toContain("/api/projects/{project}/next");
    const judgement = body.paths["/api/leases/{lease}/judgement"].post.requestBody;
    expect(JSON.stringify(judgement)).toContain("preference");
  });
});

describe("labelling over HTTP", () => {
  it("works from creating a project to judgements, agreement and closing it", async () => {
    const { request: owner } = await account("owner", "boss");
    const project = await makeProject(owner, { price: 0.5 });
    expect(
      (await owner("POST", `/api/projects/${project}/import`, { name: "pairs.jsonl", text: pairs(7) })).body,
    ).toEqual({
      format: "preference",
      rows: 7,
      kept: 1,
      judgements: 0,
      dropped: { "in the project already": 6 },
      examples: {},
    });
    await owner("POST", `/api/projects/${project}/guidelines`, {
      text: `# Be fair ${hostile}`,
      questions: [{ question: "Fair?", options: ["no", "yes"], correct: 1 }],
    });
    const people = [];
    for (const name of ["one", "two", "three"]) people.push(await account("labeler", name, project));
    for (const { request } of people) {
      const read = await request("GET", `/api/projects/${project}/guidelines`);
      expect(read.body.questions).toEqual([{ question: "Fair?", options: ["no", "yes"] }]);
      expect(read.bytes.toString()).not.toContain("correct");
      expect(read.body.text).toBe(`# Be fair ${hostile}`);
      expect((await request("POST", `/api/projects/${project}/next`)).status).toBe(403);
      expect(
        (await request("POST", `/api/projects/${project}/qualification`, { answers: [1] })).body.passed,
      ).toBe(true);
    }
    const { request: reviewer } = await account("reviewer", "reviewer of answers", project);
    const readBy = async (request: Browser) =>
      (await request("GET", `/api/projects/${project}/guidelines`)).body;
    expect((await readBy(reviewer)).questions).toEqual([{ question: "Fair?", options: ["no", "yes"] }]);
    expect((await readBy(owner)).questions).toEqual([
      { question: "Fair?", options: ["no", "yes"], correct: 1 },
    ]);
    // Before the first judgement: two of each pair at 0.5, if all agree.
    expect((await owner("GET", `/api/projects/${project}/quality`)).body.forecast).toEqual({
      target: 33_000,
      cost: 33_000,
      judgements: 66_000,
      tasks: 33_000,
    });
    for (let round = 0; round < 7; round++)
      for (const { request } of people) {
        const { assignment } = (await request("POST", `/api/projects/${project}/next`)).body;
        if (!assignment) continue;
        // As the project has them, in seconds: 30 minutes.
        expect(Math.abs(assignment.secondsLeft - 1800)).toBeLessThan(5);
        expect(assignment).not.toHaveProperty("expires");
        const preference = assignment.completions[0].startsWith("good") ? 2 : 7;
        const sent = await request("POST", `/api/leases/${assignment.lease}/judgement`, {
          answer: { preference, comment: hostile },
          seconds: 4,
        });
        expect(sent.status).toBe(200);
      }
    const { body: last } = await (people[0] as { request: Browser }).request(
      "GET",
      `/api/projects/${project}/last`,
    );
    expect(last.last.answer.comment).toBe(hostile);
    const shownFirst = last.last.completions[0].startsWith("good");
    expect(last.last.answer.preference).toBe(shownFirst ? 2 : 7);
    const { body: quality } = await owner("GET", `/api/projects/${project}/quality`);
    expect(quality).toMatchObject({ judgements: 14, spent: 7, usable: 7, costPerUsable: 1, currency: "$" });
    // Two judgements at 0.5 for each usable one: one for each prompt of InstructGPT's reward model, or as the project says.
    expect(quality.forecast).toEqual({ target: 33_000, cost: 33_000, judgements: 66_000, tasks: 33_000 });
    await owner("PATCH", `/api/projects/${project}`, {
      settings: { kind: "pairwise", price: 0.5, goldRate: 0, repeatRate: 0, target: 100 },
    });
    expect((await owner("GET", `/api/projects/${project}/quality`)).body.forecast).toEqual({
      target: 100,
      cost: 100,
      judgements: 200,
      tasks: 100,
    });
    expect(quality.alpha.value.value).toBeCloseTo(1, 6);
    const { body: workers } = await owner("GET", `/api/projects/${project}/labelers`);
    expect(workers).toHaveLength(3);
    expect(workers[0].seconds).toBe(4);
    expect((await owner("GET", `/api/projects/${project}`)).body).toMatchObject({ tasks: 7, complete: 7 });
    const rows = (await app.inject({ url: `/api/projects/${project}/export?format=rankings` })).statusCode;
    expect(rows).toBe(401);
  });

  it("imports the judgements of a table's labelers, and exports tables", async () => {
    const { request: owner } = await account("owner", "owner of tables");
    const project = await makeProject(owner, {}, pairs(1));
    const send = (name: string, text: string) =>
      owner("POST", `/api/projects/${project}/import`, { name, text, use: "judgements" });
    const { body } = await send("a.csv", `prompt,chosen,rejected,labeler\n"1,\n2",yes,no,zoe\n`);
    expect(body).toMatchObject({ format: "preference", kept: 1, judgements: 1 });
    expect((await send("a.parquet", "PAR1")).body.error).toMatch(/a\.parquet: /);
    for (const as of encodings) {
      const url = `/api/projects/${project}/export?format=preference&as=${as}`;
      const file = await owner("GET", url);
      expect(file.headers["content-disposition"]).toMatch(new RegExp(`preference\\.${as}$`));
      const [row] = await parseRows(`a.${as}`, file.bytes);
      expect(row?.value).toMatchObject({
        prompt: [{ role: "user", content: "1,\n2" }],
        chosen: [{ content: "yes" }],
        labeler: "zoe",
      });
    }
    const bytes = await encodeRows("parquet", [{ prompt: "p", chosen: "a", rejected: "b", labeler: "zoe" }]);
    const packed = { name: "b.parquet", base64: Buffer.from(bytes).toString("base64"), use: "judgements" };
    const sent = await owner("POST", `/api/projects/${project}/import`, packed);
    expect(sent.body).toMatchObject({ format: "preference", kept: 1, judgements: 1 });
    const both = await owner("POST", `/api/projects/${project}/import`, { ...packed, text: "" });
    expect(both.body.error).toMatch(/exactly one of the two/);
    // Who has judged elsewhere has no account here.
    expect((await browser()("POST", "/api/login", { name: "zoe", password })).body.error).toMatch(
      /wrong name or password/,
    );
  });

  it("takes an answer of a megabyte, and refuses one far larger", async () => {
    const { request: owner } = await account("owner", "owner of long answers");
    const project = await makeProject(owner, { kind: "demonstration" }, jsonl([{ prompt: "Tell all." }]));
    const { request } = await account("labeler", "novelist", project);
    const { assignment } = (await request("POST", `/api/projects/${project}/next`)).body;
    const send = (text: string) =>
      request("POST", `/api/leases/${assignment.lease}/judgement`, { answer: { text }, seconds: 1 });
    const text = hostile.repeat(Math.ceil(2 ** 20 / Buffer.byteLength(hostile)));
    const refused = await send(text.repeat(20));
    expect([refused.status, refused.body.error]).toEqual([413, expect.stringMatching(/at most 8 MiB/)]);
    expect((await send(text)).status).toBe(200);
    const { last } = (await request("GET", `/api/projects/${project}/last`)).body;
    expect(last.answer.text === text).toBe(true);
  });

  it("shows managers the judgements of a labeler and of a task", async () => {
    const { request: owner } = await account("owner", "onlooker");
    const settings = { overlap: 1, maxOverlap: 1, goldRate: 0.5 };
    const project = await makeProject(owner, settings, pairs(20));
    const known = pairs(40).replaceAll("question", "known question");
    await owner("POST", `/api/projects/${project}/import`, { name: "k.jsonl", text: known, use: "gold" });
    const { request, user } = await account("labeler", "odd", project);
    const { request: reviewer } = await account("reviewer", "reviewer of odd", project);
    const done: string[] = [];
    for (;;) {
      const { assignment } = (await request("POST", `/api/projects/${project}/next`)).body;
      if (!assignment) break;
      // Right for even numbers alone.
      const prompt = assignment.messages.at(-1).content as string;
      const isEven = Number(prompt.split(" ").at(-1)) % 2 === 0;
      const isFirst = assignment.completions[0].startsWith("good") === isEven;
      await request("POST", `/api/leases/${assignment.lease}/judgement`, {
        answer: { preference: isFirst ? 1 : 8, comment: `of ${prompt}` },
        seconds: 3,
      });
      done.push(prompt);
    }
    const page = async (at: number | string) =>
      (await reviewer("GET", `/api/projects/${project}/labelers/${user.id}/judgements/${at}`)).body;
    const all = await Promise.all([0, 1, 2, 3].map(page));
    const [newest] = all;
    expect(all.map(({ total }) => total)).toEqual(all.map(() => done.length));
    expect((await page(9)).judgements).toEqual([]);
    expect((await page("x")).error).toMatch(/page/);
    const promptsOf = ({ judgements }: { judgements: { prompt: string }[] }) =>
      judgements.map(({ prompt }) => prompt);
    expect(promptsOf(newest)).toHaveLength(20);
    expect(all.flatMap(promptsOf).sort()).toEqual([...done].sort());
    // Those of one millisecond in any order.
    for (const prompt of promptsOf(newest)) expect(done.slice(-30)).toContain(prompt);
    for (const { task, prompt, right, known, answer } of newest.judgements) {
      const isEven = Number(prompt.split(" ").at(-1)) % 2 === 0;
      const isKnown = prompt.startsWith("known");
      expect([right, known !== undefined]).toEqual([isKnown ? isEven : undefined, isKnown]);
      const { body } = await reviewer("GET", `/api/projects/${project}/tasks/${task}`);
      expect(body.messages).toEqual([{ role: "user", content: prompt }]);
      const texts: string[] = body.completions.map(({ text }: { text: string }) => text.slice(0, 4));
      expect([...texts].sort()).toEqual(["bad ", "good"]);
      const isPreferredFirst = isEven === (texts[0] === "good");
      expect(body.judgements).toMatchObject([
        {
          name: "odd",
          answer: { preference: isPreferredFirst ? 1 : 8, comment: `of ${prompt}` },
          seconds: 3,
        },
      ]);
      expect(body.known).toEqual(known);
      expect(answer).toEqual(body.judgements[0].answer);
    }
    const [{ task }] = newest.judgements;
    const elsewhere = await makeProject(owner);
    const strayed = await owner("POST", `/api/projects/${elsewhere}/adjudications`, {
      task,
      answer: { preference: 2 },
    });
    expect([strayed.status, strayed.body.error]).toEqual([404, expect.stringMatching(/no such task/)]);
    await reviewer("POST", `/api/projects/${project}/adjudications`, { task, answer: { preference: 2 } });
    const decided = (await owner("GET", `/api/projects/${project}/tasks/${task}`)).body.decision;
    expect(decided).toMatchObject({ name: "reviewer of odd", answer: { preference: 2 } });
    const other = await makeProject(owner);
    expect((await owner("GET", `/api/projects/${other}/tasks/${task}`)).status).toBe(404);
    expect((await request("GET", `/api/projects/${project}/tasks/${task}`)).status).toBe(403);
  });

  it("tells labelers who fail the qualification the pass mark, not how many answers were right", async () => {
    const { request: owner } = await account("owner", "examiner");
    const project = await makeProject(owner, { passMark: 0.75 });
    const questions = [0, 1].map((correct) => ({ question: "Which?", options: ["a", "b"], correct }));
    await owner("POST", `/api/projects/${project}/guidelines`, { text: "Be fair.", questions });
    const { request } = await account("labeler", "examinee", project);
    const { request: reviewer } = await account("reviewer", "reviewer of examinees", project);
    const attempt = async (from: Browser, answers: number[]) =>
      (await from("POST", `/api/projects/${project}/qualification`, { answers })).body;
    const failed = { passed: false, total: 2, passMark: 0.75, attemptsLeft: 4 };
    expect(await attempt(request, [0, 0])).toEqual(failed);
    expect(await attempt(reviewer, [0, 0])).toEqual({ ...failed, correct: 1 });
    expect(await attempt(request, [0, 1])).toMatchObject({ passed: true, correct: 2 });
  });

  it("tells labelers neither how often they are tested nor the price", async () => {
    const { request: owner } = await account("owner", "owner of rates");
    const project = await makeProject(owner, { goldRate: 0.25, repeatRate: 0.125, price: 0.5 });
    const { request } = await account("labeler", "curious", project);
    const { request: reviewer } = await account("reviewer", "reviewer of rates", project);
    const settingsFor = async (from: Browser) => {
      const all = (await from("GET", "/api/projects")).body;
      const inList = all.find(({ id }: { id: string }) => id === project).settings;
      const { settings } = (await from("GET", `/api/projects/${project}`)).body;
      expect(inList).toEqual(settings);
      return settings;
    };
    const shown = await settingsFor(request);
    expect(shown).toMatchObject({ kind: "pairwise", overlap: 2 });
    for (const name of ["goldRate", "repeatRate", "price"]) expect(shown).not.toHaveProperty(name);
    for (const from of [owner, reviewer])
      expect(await settingsFor(from)).toMatchObject({ goldRate: 0.25, repeatRate: 0.125, price: 0.5 });
  });

  it("says what an export holds, and refuses one that would be empty", async () => {
    const { request: owner } = await account("owner", "owner of nothing");
    const project = await makeProject(owner, {}, pairs(2));
    const file = async (format: string) => {
      const reply = await owner("GET", `/api/projects/${project}/export?format=${format}`);
      return reply.status === 200 ? reply.bytes.toString().trim().split("\n").length : reply.body.error;
    };
    const counts = async () => {
      const { body } = await owner("GET", `/api/projects/${project}/exports`);
      return new Map<string, object>(body.map(({ format, ...count }: { format: string }) => [format, count]));
    };
    expect(await file("rankings")).toMatch(/^"answers" has nothing to export as rankings: nobody has judged/);
    expect((await counts()).get("rankings")).toEqual({ rows: 0, dropped: {} });
    const text = jsonl([
      { prompt: "a", chosen: "yes", rejected: "no", labeler: "zoe" },
      {
        prompt: [
          { role: "system", content: "Be brief." },
          { role: "user", content: "b" },
        ],
        chosen: "yes",
        rejected: "no",
        labeler: "zoe",
      },
    ]);
    await owner("POST", `/api/projects/${project}/import`, { name: "j.jsonl", text, use: "judgements" });
    expect([await file("rankings"), await file("hh-rlhf")]).toEqual([2, 1]);
    expect(await file("ultrafeedback")).toMatch(
      /ultrafeedback: 2 tasks left out: its judgements have nothing/,
    );
    const after = await counts();
    expect(after.get("rankings")).toEqual({ rows: 2, dropped: {} });
    expect(after.get("hh-rlhf")).toMatchObject({ rows: 1 });
    expect(JSON.stringify(after.get("hh-rlhf"))).toMatch(/no place for its system message.*":1/);
    expect(after.has("log")).toBe(false);
  });

  it("imports gzipped files and tab-separated ones, and refuses bombs and spreadsheets with what to do", async () => {
    const { request: owner } = await account("owner", "owner of files");
    const project = await makeProject(owner);
    const send = async (name: string, bytes: Buffer, more: object = {}) =>
      (
        await owner("POST", `/api/projects/${project}/import`, {
          name,
          base64: bytes.toString("base64"),
          ...more,
        })
      ).body;
    const packed = (text: string) => gzipSync(Buffer.from(text));
    expect(await send("a.jsonl.gz", packed(pairs(7)))).toMatchObject({ format: "preference", kept: 1 });
    expect(await send("a.tsv", Buffer.from("prompt\tchosen\trejected\np\tx\ty\n"))).toMatchObject({
      kept: 1,
    });
    const renamed = { columns: { chosen: "good", rejected: "bad" }, limit: 1 };
    expect(await send("b.csv", Buffer.from("prompt,good,bad\nq,x,y\nr,x,y\n"), renamed)).toMatchObject({
      rows: 1,
      kept: 1,
    });
    expect((await send("a.xlsx", Buffer.from("PK\x03\x04"))).error).toMatch(/save the sheet as CSV/);
    expect((await send("a.jsonl.gz", packed(pairs(9)).subarray(0, 40))).error).toMatch(
      /damaged or cut short/,
    );
    const bomb = gzipSync(Buffer.alloc(300 * 2 ** 20, " "));
    expect((await send("a.jsonl.gz", bomb)).error).toMatch(/too large/);
  });

  it("imports the good rows of a file, and says which were left out and why", async () => {
    const { request: owner } = await account("owner", "owner of mistakes");
    const project = await makeProject(owner);
    const good = { prompt: "new", chosen: "a", rejected: "b" };
    const send = async (...rows: object[]) =>
      (await owner("POST", `/api/projects/${project}/import`, { name: "m.jsonl", text: jsonl(rows) })).body;
    const reason = "malformed row: chosen: expected a string or a list of {role, content}";
    expect(
      await send({ ...good, chosen: 3 }, good, { ...good, rejected: "" }, { ...good, chosen: 4 }),
    ).toMatchObject({
      kept: 1,
      dropped: { [reason]: 2, "empty reply": 1 },
      examples: { [reason]: [1, 4], "empty reply": [3] },
    });
    expect((await send({ ...good, chosen: 3 })).error).toMatch(
      /no row can be imported .*malformed row: chosen/,
    );
  });

  it("denies labelers the answers of others, model names and owners' pages", async () => {
    const { request: owner } = await account("owner", "owner of secrets");
    const rows = jsonl([{ prompt: "q", completions: ["a", "b"] }]);
    const [project, other] = [await makeProject(owner, { overlap: 2 }, rows), await makeProject(owner)];
    await store.addTasks(null, await store.project(project), [
      {
        messages: [{ role: "user", content: "who are you?" }],
        completions: ["one", "two"].map((text) => ({ text, model: "secret-model", run: "secret-model/1" })),
      },
    ]);
    const { request: a } = await account("labeler", "nosy", project);
    const { request: b, user: userB } = await account("labeler", "honest", project);
    const { assignment } = (await b("POST", `/api/projects/${project}/next`)).body;
    const { body: judged } = await b("POST", `/api/leases/${assignment.lease}/judgement`, {
      answer: { preference: 1, comment: "mine alone" },
      seconds: 1,
    });
    const mine = (await a("POST", `/api/projects/${project}/next`)).body.assignment;
    const tried = [
      await a("GET", `/api/projects/${project}/quality`),
      await a("GET", `/api/projects/${project}/labelers`),
      await a("GET", `/api/projects/${project}/disputes`),
      await a("GET", `/api/projects/${project}/export?format=judgements`),
      await a("GET", `/api/projects/${project}/tasks/${mine.task}`),
      await a("GET", `/api/projects/${project}/labelers/${userB.id}/judgements/0`),
      await a("GET", "/api/users"),
      await a("GET", `/api/projects/${other}`),
      await a("POST", `/api/projects/${other}/next`),
      await a("POST", "/api/projects", { name: "x", settings: { kind: "ranking" } }),
      await a("PATCH", `/api/projects/${project}`, { settings: { kind: "pairwise" } }),
      await a("POST", `/api/projects/${project}/import`, { name: "x.jsonl", text: rows }),
      await a("POST", `/api/projects/${project}/invitations`, { role: "owner" }),
      await a("POST", `/api/projects/${project}/guidelines`, { text: "x", questions: [] }),
      await a("POST", `/api/projects/${project}/adjudications`, {
        task: mine.task,
        answer: { preference: 1 },
      }),
      await a("POST", `/api/judgements/${judged.id}/revision`, { answer: { preference: 8 }, seconds: 1 }),
      await a("PUT", `/api/leases/${judged.id}/draft`, { draft: 1 }),
      await a("POST", `/api/leases/${assignment.lease}/judgement`, { answer: { preference: 8 }, seconds: 1 }),
    ];
    for (const { status } of tried) expect([403, 404]).toContain(status);
    const seen = JSON.stringify([
      ...tried.map(({ body }) => body),
      mine,
      (await a("GET", `/api/projects/${project}/guidelines`)).body,
      (await a("GET", `/api/projects/${project}/last`)).body,
      (await a("GET", "/api/projects")).body,
      (await a("GET", `/api/projects/${project}`)).body,
    ]);
    expect(seen).not.toMatch(/secret-model|mine alone/);
  });
});
