import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { noPostgres, startPostgres } from "../../test/postgres.ts";
import { parseJsonl } from "../data/jsonl.ts";
import { readDrafts } from "../data/readers.ts";
import { uniform } from "../statistics/random.ts";
import { claimInvitation, createInvitation, listInvitations, revokeInvitation } from "./accounts.ts";
import type { Role } from "./events.ts";
import { exportRows } from "./export.ts";
import { importTasks } from "./import.ts";
import { nextTask, reviseJudgement, saveDraft, submitJudgement } from "./labeling.ts";
import { changeMember, listMembers, projectAndRole, removeMember } from "./members.ts";
import { submitQualification } from "./qualification.ts";
import type { Assignment, NewTask, Project, User } from "./records.ts";
import type { Answer } from "./settings.ts";
import { LabelStore } from "./store.ts";
import { createToken, listTokens, readToken, revokeToken } from "./tokens.ts";
import { verify } from "./verify.ts";

const hostile = "\u0000<script>alert(1)</script>\u202eabc 👩‍💻 \ud800 שלום\r\n' or 1=1; --";
const pair = (i: number): NewTask => ({
  messages: [{ role: "user", content: `question ${i}` }],
  completions: [
    { text: `good ${i}`, model: "secret-model", temperature: 0.7, seed: i },
    { text: `bad ${i}`, model: "other-model" },
  ],
});
const pairs = (count: number) => Array.from({ length: count }, (_, i) => pair(i));

/** Prefers what is called good, whichever side it is on. */
const prefer = ({ completions }: Assignment, good = true): { preference: number } => ({
  preference: (completions[0]?.startsWith("good") ?? false) === good ? 1 : 8,
});

const databases = [
  { name: "SQLite", skipped: undefined },
  { name: "Postgres", skipped: noPostgres },
];
for (const { name, skipped } of databases)
  if (skipped) console.log(`label store on ${name}: skipped, ${skipped}`);

describe.each(databases.filter(({ skipped }) => !skipped))("the label store on $name", ({ name }) => {
  let server: Awaited<ReturnType<typeof startPostgres>> | undefined;
  let clock = 1_700_000_000_000;
  beforeAll(async () => {
    if (name === "Postgres") server = await startPostgres();
  });
  afterAll(() => server?.stop());

  interface Setting {
    store: LabelStore;
    owner: User;
    labelers: User[];
    project: Project;
  }
  async function begin(settings: object = {}, people = 3, tasks = pairs(4)): Promise<Setting> {
    const store = await LabelStore.open((await server?.fresh()) ?? ":memory:", () => clock, uniform(0));
    const owner = await store.addUser(null, { name: "owner", role: "owner" });
    const labelers: User[] = [];
    for (let i = 0; i < people; i++)
      labelers.push(await store.addUser(owner.id, { name: `labeler ${i}`, role: "labeler" }));
    const project = await store.addProject(owner.id, {
      name: "answers",
      settings: { kind: "pairwise", goldRate: 0, repeatRate: 0, ...settings },
    });
    await store.addTasks(owner.id, project, tasks);
    return { store, owner, labelers, project };
  }
  const end = async (store: LabelStore) => {
    expect((await verify(store)).problems).toEqual([]);
    await store.close();
  };
  const judgements = (store: LabelStore) =>
    store.db.selectFrom("judgement").selectAll().orderBy("at").execute();

  it("assigns every task to `overlap` labelers, and never twice to the same one", async () => {
    const { store, labelers, project } = await begin();
    const seen = new Map<string, string[]>();
    for (let round = 0; round < 5; round++)
      for (const labeler of labelers) {
        const got = await nextTask(store, project, labeler);
        if (!got) continue;
        seen.set(got.task, [...(seen.get(got.task) ?? []), labeler.id]);
        await submitJudgement(store, got.lease, labeler.id, prefer(got), 3);
      }
    expect(seen.size).toBe(4);
    for (const who of seen.values()) {
      expect(who).toHaveLength(2);
      expect(new Set(who).size).toBe(2);
    }
    // What was shown is stored as it stands: the good one is always the first.
    for (const { answer } of await judgements(store)) expect(JSON.parse(answer)).toEqual({ preference: 1 });
    const orders = (await judgements(store)).map(({ order }) => order);
    expect(orders.length).toBe(8);
    await end(store);
  });

  it("gives every two labelers some tasks in common, even if all work in step", async () => {
    const { store, labelers, project } = await begin({ maxOverlap: 2 }, 6, pairs(90));
    const said = new Map<string, string[]>();
    for (;;) {
      const got: [User, Assignment][] = [];
      for (const labeler of labelers) {
        const assignment = await nextTask(store, project, labeler);
        if (assignment) got.push([labeler, assignment]);
      }
      if (!got.length) break;
      for (const [{ name }, { task }] of got) said.set(task, [...(said.get(task) ?? []), name].sort());
      // Few are begun at a time, so that what was paid for is soon complete.
      expect([...said.values()].filter((who) => who.length === 1).length).toBeLessThan(30);
      for (const [{ id }, { lease }] of got) await submitJudgement(store, lease, id, { preference: 1 }, 1);
    }
    expect([...said.values()].map((who) => who.length)).toEqual(new Array(90).fill(2));
    const together = new Map<string, number>();
    for (const who of said.values()) together.set(who.join(), (together.get(who.join()) ?? 0) + 1);
    // 15 pairs of people for 90 tasks: 6 each.
    expect(together.size).toBe(15);
    expect(Math.max(...together.values())).toBeLessThan(20);
    await end(store);
  });

  it("assigns one more labeler where two disagree, up to maxOverlap", async () => {
    const { store, labelers, project } = await begin({ maxOverlap: 3 }, 4, pairs(1));
    const [a, b, c, d] = labelers as [User, User, User, User];
    for (const [who, good] of [
      [a, true],
      [b, false],
    ] as const) {
      const got = (await nextTask(store, project, who)) as Assignment;
      await submitJudgement(store, got.lease, who.id, prefer(got, good), 1);
    }
    const third = (await nextTask(store, project, c)) as Assignment;
    expect(await nextTask(store, project, d)).toBeUndefined();
    await submitJudgement(store, third.lease, c.id, prefer(third), 1);
    expect(await nextTask(store, project, d)).toBeUndefined();
    await end(store);
  });

  it("reserves a task and its draft for a labeler until the lease ends, then gives it to another", async () => {
    const { store, labelers, project } = await begin({ overlap: 1, leaseMinutes: 10 }, 3, pairs(1));
    const [a, b, c] = labelers as [User, User, User];
    const got = (await nextTask(store, project, a)) as Assignment;
    await saveDraft(store, got.lease, a.id, { comment: hostile });
    expect(await nextTask(store, project, b)).toBeUndefined();
    const again = await nextTask(store, project, a);
    expect(again).toEqual({ ...got, draft: { comment: hostile } });
    await expect(saveDraft(store, got.lease, b.id, {})).rejects.toThrow(/not yours/);
    clock += 11 * 60_000;
    const other = (await nextTask(store, project, b)) as Assignment;
    expect(other.task).toBe(got.task);
    await expect(submitJudgement(store, got.lease, a.id, prefer(got), 1)).rejects.toThrow(
      /given to somebody else/,
    );
    await submitJudgement(store, other.lease, b.id, prefer(other), 1);
    expect(await nextTask(store, project, c)).toBeUndefined();
    expect(await judgements(store)).toHaveLength(1);
    await end(store);
  });

  it("accepts a judgement after the lease has expired if nobody else has the task", async () => {
    const { store, labelers, project } = await begin({ overlap: 1, leaseMinutes: 10 }, 1, pairs(1));
    const [a] = labelers as [User];
    const got = (await nextTask(store, project, a)) as Assignment;
    clock += 60 * 60_000;
    await submitJudgement(store, got.lease, a.id, prefer(got), 1);
    expect(await judgements(store)).toHaveLength(1);
    await end(store);
  });

  it("renews an expired lease of the same labeler, with its order and draft", async () => {
    const { store, labelers, project } = await begin({ overlap: 2, leaseMinutes: 10 }, 2, pairs(1));
    const [a, b] = labelers as [User, User];
    const got = (await nextTask(store, project, a)) as Assignment;
    await saveDraft(store, got.lease, a.id, { comment: "so far" });
    clock += 11 * 60_000;
    const again = (await nextTask(store, project, a)) as Assignment;
    expect(again).toEqual({ ...got, draft: { comment: "so far" }, expires: clock + 10 * 60_000 });
    const other = (await nextTask(store, project, b)) as Assignment;
    await submitJudgement(store, again.lease, a.id, prefer(again), 1);
    await submitJudgement(store, other.lease, b.id, prefer(other), 1);
    expect(await judgements(store)).toHaveLength(2);
    await end(store);
  });

  it("records a judgement once, however often it is sent", async () => {
    const { store, labelers, project } = await begin({}, 1);
    const [a] = labelers as [User];
    const got = (await nextTask(store, project, a)) as Assignment;
    const sent = await Promise.all(
      [1, 2, 3].map(() => submitJudgement(store, got.lease, a.id, prefer(got), 1)),
    );
    expect(new Set(sent).size).toBe(1);
    expect(await judgements(store)).toHaveLength(1);
    await end(store);
  });

  it("assigns the next task ahead, and keeps the order in which a task was shown", async () => {
    const { store, labelers, project } = await begin({}, 1);
    const [a] = labelers as [User];
    const one = (await nextTask(store, project, a)) as Assignment;
    const two = (await nextTask(store, project, a, [one.task])) as Assignment;
    expect(two.task).not.toBe(one.task);
    expect(await nextTask(store, project, a)).toEqual(one);
    expect(await nextTask(store, project, a, [one.task])).toEqual(two);
    await end(store);
  });

  it("keeps a revised judgement in the log", async () => {
    const { store, labelers, project } = await begin({}, 1);
    const [a] = labelers as [User];
    const got = (await nextTask(store, project, a)) as Assignment;
    const id = await submitJudgement(store, got.lease, a.id, prefer(got), 1);
    clock += 1000;
    await reviseJudgement(store, id, a.id, prefer(got, false), 2);
    await expect(reviseJudgement(store, id, a.id, prefer(got), 1)).rejects.toThrow(/revised already/);
    const all = await judgements(store);
    expect(all.map(({ answer, current }) => [JSON.parse(answer), current])).toEqual([
      [{ preference: 1 }, 0],
      [{ preference: 8 }, 1],
    ]);
    await end(store);
  });

  it("assigns gold and repeated tasks at their rates, without counting them towards the overlap", async () => {
    const gold = pairs(40).map((task) => ({ ...task, gold: { preference: 1 } }));
    const { store, labelers, project } = await begin(
      { goldRate: 0.2, repeatRate: 0.2, overlap: 1, maxOverlap: 1 },
      1,
      [...pairs(100), ...gold],
    );
    const [a] = labelers as [User];
    for (;;) {
      const got = await nextTask(store, project, a);
      if (!got) break;
      await submitJudgement(store, got.lease, a.id, prefer(got), 1);
      clock += 1000;
    }
    const all = await judgements(store);
    const golden = new Set(
      (await store.db.selectFrom("task").select("id").where("gold", "is not", null).execute()).map(
        ({ id }) => id,
      ),
    );
    const known = all.filter(({ task }) => golden.has(task)).length;
    const again = all.filter(({ repeat }) => repeat).length;
    expect(all.length - known - again).toBe(100);
    // About 33 of 167 each: five standard deviations to either side.
    expect(Math.abs(known - 33)).toBeLessThan(26);
    expect(Math.abs(again - 33)).toBeLessThan(26);
    await end(store);
  });

  it("assigns a skipped task to another labeler", async () => {
    const { store, labelers, project } = await begin({ overlap: 1 }, 2, pairs(1));
    const [a, b] = labelers as [User, User];
    const got = (await nextTask(store, project, a)) as Assignment;
    await submitJudgement(store, got.lease, a.id, { skip: "not my field", comment: "law" }, 1);
    expect(await nextTask(store, project, a)).toBeUndefined();
    expect((await nextTask(store, project, b))?.task).toBe(got.task);
    await end(store);
  });

  it("requires skills, and the qualification on the newest guidelines", async () => {
    const skilled = [{ ...pair(0), skill: "physician" }, pair(1)];
    const { store, owner, labelers, project } = await begin({ skill: "English", passMark: 1 }, 1, skilled);
    const [a] = labelers as [User];
    await expect(nextTask(store, project, a)).rejects.toThrow(/skill "English"/);
    const speaks = await store.changeUser(owner.id, a.id, { skills: [" english"] });
    await store.publishGuidelines(owner.id, project.id, {
      text: hostile,
      questions: [{ question: "Which?", options: ["this", "that"], correct: 1 }],
    });
    const published = await store.project(project.id);
    expect((await store.guidelines(published))?.text).toBe(hostile);
    await expect(nextTask(store, published, speaks)).rejects.toThrow(/qualification/);
    expect(await submitQualification(store, published, a.id, [0])).toEqual({
      passed: false,
      correct: 0,
      total: 1,
      attemptsLeft: 4,
    });
    await expect(nextTask(store, published, speaks)).rejects.toThrow(/qualification/);
    expect((await submitQualification(store, published, a.id, [1])).passed).toBe(true);
    const got = (await nextTask(store, published, speaks)) as Assignment;
    expect(got.messages[0]?.content).toBe("question 1");
    await submitJudgement(store, got.lease, a.id, prefer(got), 1);
    expect(await nextTask(store, published, speaks)).toBeUndefined();
    const doctor = await store.changeUser(owner.id, a.id, { skills: ["ENGLISH", "Physician"] });
    expect((await nextTask(store, published, doctor))?.messages[0]?.content).toBe("question 0");
    await end(store);
  });

  it("reads a token's user and rights, until it expires or is revoked", async () => {
    const { store, owner, labelers, project } = await begin({}, 2);
    const [a] = labelers as [User];
    await store.write((tx) => store.record(tx, null, { type: "joined", project: project.id, user: a.id }));
    const options = { name: "script", scopes: ["read", "label"] as const, days: 2, project: project.id };
    const { token, expires } = await createToken(store, a, options);
    clock += 1000;
    const other = await createToken(store, a, { ...options, project: null });
    expect(expires).toBe(clock - 1000 + 2 * 24 * 3_600_000);
    expect(await readToken(store, token)).toEqual({
      user: a,
      token: { scopes: ["read", "label"], project: project.id },
    });
    expect((await readToken(store, other.token))?.token.project).toBeNull();
    const listed = await listTokens(store, a.id);
    expect(listed.map(({ lastUsed, project }) => [lastUsed, project?.name])).toEqual([
      [clock, project.name],
      [clock, undefined],
    ]);
    expect(await listTokens(store, owner.id)).toEqual([]);
    await revokeToken(store, owner, listed[1]?.id as string);
    expect(await readToken(store, other.token)).toBeUndefined();
    clock = expires;
    expect(await readToken(store, token)).toBeUndefined();
    expect(await listTokens(store)).toEqual([]);
    await end(store);
  });

  it("limits failed attempts at the qualification: 5 in 24 hours, for a person and version", async () => {
    const { store, owner, labelers, project } = await begin({ passMark: 1 }, 2);
    const [a, b] = labelers as [User, User];
    const publish = () =>
      store.publishGuidelines(owner.id, project.id, {
        text: "Be fair.",
        questions: [{ question: "Fair?", options: ["no", "yes"], correct: 1 }],
      });
    const attempt = async ({ id }: User, answer: number) => {
      const result = await submitQualification(store, await store.project(project.id), id, [answer]).catch(
        ({ status, message }) => `${status} ${message}`,
      );
      return typeof result === "string" ? result : result.passed;
    };
    await publish();
    const start = clock;
    const results = [];
    for (let i = 0; i < 5; i++) {
      results.push(await attempt(a, 0));
      clock += 3_600_000;
    }
    expect(results).toEqual([false, false, false, false, false]);
    // Right or wrong: whoever guesses learns nothing more. 24 hours after the first attempt, 5 of which are over.
    for (const answer of [0, 1])
      expect(await attempt(a, answer)).toMatch(/^429 .*5 times.*try again in 19 hours/);
    expect(await attempt(b, 1)).toBe(true);
    clock = start + 24 * 3_600_000 - 60_000;
    expect(await attempt(a, 1)).toMatch(/^429 .*in a minute$/);
    clock += 60_000;
    expect(await attempt(a, 1)).toBe(true);
    await publish();
    for (let i = 0; i < 5; i++) await attempt(a, 0);
    expect(await attempt(a, 1)).toMatch(/^429/);
    await publish();
    expect(await attempt(a, 1)).toBe(true);
    await end(store);
  });

  it("refuses answers that the project does not ask for", async () => {
    const { store, labelers, project } = await begin(
      { kind: "ranking", rubric: [{ name: "truth", low: 1, high: 5 }], flags: ["spam"] },
      1,
    );
    const [a] = labelers as [User];
    const { lease } = (await nextTask(store, project, a)) as Assignment;
    const ratings = { truth: [1, 5] };
    const wrong: [object, RegExp][] = [
      [{}, /ranks: rank every completion/],
      [{ ranks: [1], ratings }, /2 completions, 1 ranks/],
      [{ ranks: [1, 2] }, /ratings.truth: rate every completion/],
      [{ ranks: [1, 2], ratings: { truth: [0, 5] } }, /from 1 to 5/],
      [{ ranks: [1, 2], ratings: { ...ratings, style: [1, 1] } }, /no such criterion/],
      [{ ranks: [1, 2], ratings, flags: { rude: [true, false] } }, /not a flag/],
      [{ ranks: [1, 2], ratings, preference: 3 }, /does not ask for one/],
      [{ ranks: [1, 2], skip: "no" }, /no other answer/],
    ];
    for (const [answer, why] of wrong)
      await expect(submitJudgement(store, lease, a.id, answer, 1)).rejects.toThrow(why);
    expect(await judgements(store)).toEqual([]);
    await submitJudgement(
      store,
      lease,
      a.id,
      { ranks: [1, 1], ratings, flags: { spam: [true, false] }, comment: hostile },
      1,
    );
    const [kept] = await judgements(store);
    expect(JSON.parse(kept?.answer as string).comment).toBe(hostile);
    await end(store);
  });

  it("stores texts unchanged, and hides which model wrote them", async () => {
    const { store, labelers, project } = await begin({ kind: "ranking" }, 1, [
      {
        messages: [{ role: "user", content: hostile }],
        completions: [hostile, `${hostile}2`].map((text) => ({ text, model: "m" })),
      },
    ]);
    const got = (await nextTask(store, project, labelers[0] as User)) as Assignment;
    expect(got.messages[0]?.content).toBe(hostile);
    expect([...got.completions].sort()).toEqual([hostile, `${hostile}2`].sort());
    expect(Object.keys(got)).toEqual(["lease", "task", "messages", "expires", "completions", "draft"]);
    await end(store);
  });

  it("keeps texts of a megabyte unchanged from import to export", async () => {
    const big = (start: string) => start + hostile.repeat(Math.ceil(2 ** 20 / Buffer.byteLength(hostile)));
    const take = async ({ store, labelers, project }: Setting, row: object, answer: Answer) => {
      const rows = parseJsonl("a.jsonl", Buffer.from(JSON.stringify(row)));
      const { kept } = await importTasks(store, null, project, readDrafts("a.jsonl", rows));
      expect(kept).toBe(1);
      const [labeler] = labelers as [User];
      const { lease } = (await nextTask(store, project, labeler)) as Assignment;
      await saveDraft(store, lease, labeler.id, answer);
      expect((await nextTask(store, project, labeler))?.draft).toEqual(answer);
      await submitJudgement(store, lease, labeler.id, answer, 1);
    };
    const exported = async ({ store, project }: Setting, format: "judgements" | "prompt-completion") => {
      const rows = [];
      for await (const row of exportRows(store, project, format)) rows.push(row);
      expect(rows).toHaveLength(1);
      return rows[0] as {
        prompt: { content: string }[];
        completions: string[];
        completion: { content: string }[];
        answer: Answer;
      };
    };
    // Compared without being shown: a difference of megabytes is no message.
    const same = (found: unknown, wanted: unknown) => expect(isDeepStrictEqual(found, wanted)).toBe(true);

    const compared = await begin({}, 1, []);
    const row = { prompt: big("p"), chosen: big("a"), rejected: big("b") };
    await take(compared, row, { preference: 2, comment: big("c") });
    const judged = await exported(compared, "judgements");
    same(judged.prompt[0]?.content, big("p"));
    same(judged.completions, [big("a"), big("b")]);
    same(judged.answer.comment, big("c"));
    await end(compared.store);

    const written = await begin({ kind: "demonstration" }, 1, []);
    await take(written, { prompt: big("q") }, { text: big("d") });
    const { prompt, completion } = await exported(written, "prompt-completion");
    same([prompt[0]?.content, completion[0]?.content], [big("q"), big("d")]);
    await end(written.store);
  });

  it("stores names unchanged, and refuses those that a database cannot store", async () => {
    const { store, owner } = await begin({}, 0, []);
    const name = "</script>abc 👩‍💻 שלום' or 1=1; --";
    const user = await store.addUser(owner.id, { name, role: "labeler" });
    expect((await store.user(user.id)).name).toBe(name);
    const settings = { kind: "pairwise" } as const;
    const { id } = await store.addProject(owner.id, { name, settings });
    expect((await store.project(id)).name).toBe(name);
    for (const none of ["a\u0000b", "a\ud800", "a\u202eb", "a\u200bb"]) {
      await expect(store.addUser(owner.id, { name: none, role: "labeler" })).rejects.toThrow(/^name: /);
      await expect(store.addProject(owner.id, { name: none, settings })).rejects.toThrow(/^name: /);
    }
    await end(store);
  });

  it("has members with roles, who leave with their leases, and invitations that are revoked", async () => {
    const { store, owner, labelers, project } = await begin();
    const [a, b] = labelers as [User, User, User];
    const claim = async (user: User, role: Role) =>
      claimInvitation(store, (await createInvitation(store, owner.id, role, project.id)).token, user);
    await claim(a, "labeler");
    await claim(b, "labeler");
    await claim(a, "reviewer");
    await changeMember(store, owner.id, project.id, b.id, "owner");
    await expect(claim(a, "labeler")).rejects.toThrow(/the role "reviewer" already/);
    const rolesByName = async () =>
      (await listMembers(store, project.id)).map(({ name, role }) => `${name}: ${role}`).sort();
    expect(await rolesByName()).toEqual(["labeler 0: reviewer", "labeler 1: owner"]);
    const [left, kept] = [await nextTask(store, project, a), await nextTask(store, project, b)];
    await removeMember(store, owner.id, project.id, a.id);
    expect(await rolesByName()).toEqual(["labeler 1: owner"]);
    const found = (lease: string | undefined) => projectAndRole(store, { lease: lease as string }, b);
    expect(await found(left?.lease)).toBeUndefined();
    expect(await found(kept?.lease)).toMatchObject({ project: { id: project.id }, role: "owner" });
    const removed = await projectAndRole(store, { project: project.id }, a);
    expect([removed?.project.id, removed?.role]).toEqual([project.id, undefined]);
    // The link that was refused is open still.
    const [open, ...others] = await listInvitations(store, project.id);
    expect([open?.role, open?.by, others]).toEqual(["labeler", "owner", []]);
    await revokeInvitation(store, project.id, open?.id as string);
    expect(await listInvitations(store, project.id)).toEqual([]);
    await end(store);
  });

  it("neither loses nor duplicates judgements when many labelers work at once", async () => {
    const { store, labelers, project } = await begin({ overlap: 3, maxOverlap: 3 }, 20, pairs(40));
    const work = async (labeler: User) => {
      for (;;) {
        const got = await nextTask(store, project, labeler);
        if (!got) return;
        await submitJudgement(store, got.lease, labeler.id, prefer(got), 1);
      }
    };
    await Promise.all(labelers.map(work));
    const all = await judgements(store);
    expect(all).toHaveLength(120);
    expect(new Set(all.map(({ task, labeler }) => `${task} ${labeler}`)).size).toBe(120);
    const each = await store.db.selectFrom("task").select(["done", "complete"]).execute();
    expect(each.every(({ done, complete }) => done === 3 && complete === 1)).toBe(true);
    await end(store);
  });

  it("takes the same answer twice, and refuses another one for the same lease", async () => {
    const { store, labelers, project } = await begin({}, 1, pairs(1));
    const [a] = labelers as [User];
    const got = (await nextTask(store, project, a)) as Assignment;
    const id = await submitJudgement(store, got.lease, a.id, { preference: 2, comment: "x" }, 1);
    expect(await submitJudgement(store, got.lease, a.id, { preference: 2, comment: "x" }, 9)).toBe(id);
    for (const answer of [{ preference: 7 }, { preference: 2 }])
      await expect(submitJudgement(store, got.lease, a.id, answer, 1)).rejects.toMatchObject({
        status: 409,
        message: expect.stringContaining("you have answered this task already"),
      });
    expect(await judgements(store)).toHaveLength(1);
    await end(store);
  });

  const damages: [
    string,
    (store: LabelStore, seq: (type: string) => Promise<number>) => Promise<unknown>,
    RegExp,
  ][] = [
    [
      "a task's event deleted",
      async (store, seq) =>
        store.db
          .deleteFrom("event")
          .where("seq", "=", await seq("task added"))
          .execute(),
      /event \d+ is missing.*event \d+ \("judged"\) cannot be applied/s,
    ],
    [
      "the project's event deleted",
      async (store, seq) =>
        store.db
          .deleteFrom("event")
          .where("seq", "=", await seq("project added"))
          .execute(),
      /event \d+ is missing/,
    ],
    [
      "an event that is not JSON",
      async (store, seq) =>
        store.db
          .updateTable("event")
          .set({ data: "{" })
          .where("seq", "=", await seq("judged"))
          .execute(),
      /event \d+ \("judged"\) cannot be applied/,
    ],
    [
      "an event of a type that is not known",
      async (store, seq) =>
        store.db
          .updateTable("event")
          .set({ data: '{"type":"danced"}' })
          .where("seq", "=", await seq("judged"))
          .execute(),
      /event \d+ \("judged"\) cannot be applied: .*danced/,
    ],
    [
      "every event deleted",
      async (store) => store.db.deleteFrom("event").execute(),
      /is in the table and not in the log/,
    ],
  ];
  it.each(damages)("verify reports %s, and goes on", async (_, damage, problem) => {
    const { store, labelers, project } = await begin({}, 2, pairs(2));
    for (const labeler of labelers) {
      const got = (await nextTask(store, project, labeler)) as Assignment;
      await submitJudgement(store, got.lease, labeler.id, prefer(got), 1);
    }
    await damage(store, async (type) => {
      const { seq } = await store.db
        .selectFrom("event")
        .select("seq")
        .where("type", "=", type)
        .orderBy("seq")
        .executeTakeFirstOrThrow();
      return seq;
    });
    const { problems, problemCount, last } = await verify(store);
    expect(problems.join("\n")).toMatch(problem);
    expect(problemCount).toBeGreaterThanOrEqual(problems.length);
    const newest = await store.db.selectFrom("event").selectAll().orderBy("seq", "desc").executeTakeFirst();
    expect(last).toEqual(newest && { seq: newest.seq, at: newest.at, hash: newest.hash });
    await store.close();
  });

  it("verify reports rows and events that were changed outside the log", async () => {
    const { store, labelers, project } = await begin();
    const [a] = labelers as [User];
    const got = (await nextTask(store, project, a)) as Assignment;
    const id = await submitJudgement(store, got.lease, a.id, prefer(got), 1);
    expect((await verify(store)).problems).toEqual([]);
    await store.db
      .updateTable("judgement")
      .set({ answer: '{"preference":8}' })
      .where("id", "=", id)
      .execute();
    expect((await verify(store)).problems).toEqual([expect.stringMatching(/^judgement .*differs/)]);
    await store.db.updateTable("event").set({ actor: "me" }).where("seq", "=", 2).execute();
    expect((await verify(store)).problems.join()).toMatch(/event 2 .*was changed after it was recorded/);
    await store.db.deleteFrom("event").where("seq", "=", 3).execute();
    expect((await verify(store)).problems.join()).toMatch(/event 3 is missing/);
    await store.close();
  });
});
