// Many labelers at once on the real server, which is killed half-way: are any judgements lost or doubled, and how long
// does the next task take, also while somebody looks at the quality page? `npm run bench:labels -- [--database sqlite|postgres] [--labelers N] [--judgements N] [--think SECONDS]`

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { claimInvitation, createInvitation, openSession } from "../src/labels/accounts.ts";
import { LabelStore } from "../src/labels/store.ts";
import { verify } from "../src/labels/verify.ts";
import { startPostgres } from "../test/postgres.ts";

const bin = fileURLToPath(new URL("../bin/plumbline.mjs", import.meta.url));
const { values } = parseArgs({
  options: {
    /** Starts a server of its own for "postgres". */
    database: { type: "string", default: "sqlite" },
    labelers: { type: "string", default: "200" },
    judgements: { type: "string", default: "20000" },
    /** Mean seconds that a labeler looks at a task. */
    think: { type: "string", default: "2" },
    json: { type: "boolean", default: false },
  },
});
const folder = mkdtempSync(join(tmpdir(), "plumbline-labels-"));
const postgres = values.database === "postgres" ? await startPostgres() : undefined;
const where = (await postgres?.fresh()) ?? join(folder, "labels.db");
const [labelers, wanted, overlap] = [Number(values.labelers), Number(values.judgements), 4];
const port = 3900 + (process.pid % 1000);

function serve(): Promise<ChildProcess> {
  const child = spawn(process.execPath, [bin, "serve", "--store", where, "--port", String(port), "--json"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", () => resolve(child));
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
}

const nextTimes: number[] = [];
/** First tasks, for which all labelers come in one moment; and those that all come for when the server is back. */
const atStart: number[] = [];
const afterKill: number[] = [];
/** Next tasks while an owner asks for the quality page each second: in the last fifth. And how long the page takes. */
const whileMeasured: number[] = [];
const pageTimes: number[] = [];
let backAt = Number.POSITIVE_INFINITY;
const acknowledged = new Set<string>();
let down = 0;

/** Sends a request. @returns undefined while the server is down */
async function ask(cookie: string, method: string, path: string, body: object = {}) {
  try {
    const reply = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: { "content-type": "application/json", "x-plumbline": "1", cookie },
      ...(method !== "GET" && { body: JSON.stringify(body) }),
    });
    return {
      status: reply.status,
      cookie: reply.headers.get("set-cookie")?.split(";")[0],
      body: await reply.json(),
    };
  } catch {
    down++;
    await new Promise((resolve) => setTimeout(resolve, 100));
    return undefined;
  }
}

const password = "a long password";
let server = await serve();
const store = await LabelStore.open(where);
const owner = await store.addUser(null, { name: "owner", role: "owner" });
const project = await store.addProject(owner.id, {
  name: "load",
  settings: { kind: "pairwise", overlap, maxOverlap: overlap, goldRate: 0, repeatRate: 0 },
});
await store.addTasks(
  owner.id,
  project,
  Array.from({ length: wanted / overlap }, (_, i) => ({
    messages: [{ role: "user" as const, content: `question ${i}` }],
    completions: [{ text: `one ${i}` }, { text: `two ${i}` }],
  })),
);
const cookies: string[] = [];
for (let i = 0; i < labelers; i++) {
  const { token } = await createInvitation(store, owner.id, "labeler", project.id);
  const user = await claimInvitation(store, token, { name: `labeler ${i}`, password });
  cookies.push(`plumbline=${(await openSession(store, user.id)).token}`);
}
console.error(`${labelers} labelers, ${wanted / overlap} tasks for ${overlap} of them each`);

const ownersCookie = `plumbline=${(await openSession(store, owner.id)).token}`;
const isMeasured = () => acknowledged.size >= 0.8 * wanted;
async function look(): Promise<void> {
  const began = performance.now();
  const page = await ask(ownersCookie, "GET", `/api/projects/${project.id}/quality`);
  if (page?.status !== 200) throw new Error(`quality: ${page?.status} ${JSON.stringify(page?.body)}`);
  pageTimes.push(performance.now() - began);
}

let killed = false;
async function work(cookie: string): Promise<void> {
  // Labelers start within ten seconds.
  await new Promise((resolve) => setTimeout(resolve, 10_000 * Math.random()));
  for (let first = true; ; first = false) {
    const began = performance.now();
    const next = await ask(cookie, "POST", `/api/projects/${project.id}/next`);
    if (!next) continue;
    if (next.status !== 200) throw new Error(`next: ${next.status} ${JSON.stringify(next.body)}`);
    // Those for which all come at once are counted apart.
    const again = killed && began < backAt + 5000 ? afterKill : isMeasured() ? whileMeasured : nextTimes;
    (first ? atStart : again).push(performance.now() - began);
    const { assignment } = next.body as { assignment: { lease: string } | null };
    if (!assignment) {
      if (acknowledged.size >= wanted) return;
      // Another labeler may still give a task back.
      await new Promise((resolve) => setTimeout(resolve, 5000));
      if (acknowledged.size + labelers > wanted) return;
      continue;
    }
    const looked = -Number(values.think) * Math.log(1 - Math.random());
    await new Promise((resolve) => setTimeout(resolve, looked * 1000));
    const path = `/api/leases/${assignment.lease}/judgement`;
    const answer = { answer: { preference: 1 + Math.floor(Math.random() * 8) }, seconds: 1 };
    let sent = await ask(cookie, "POST", path, answer);
    while (!sent) sent = await ask(cookie, "POST", path, answer);
    if (sent.status !== 200) throw new Error(`judgement: ${sent.status} ${JSON.stringify(sent.body)}`);
    acknowledged.add((sent.body as { id: string }).id);
    if (acknowledged.size % 2000 === 0) console.error(`  ${acknowledged.size} judgements`);
    if (!killed && acknowledged.size >= wanted / 2) {
      killed = true;
      server.removeAllListeners("exit");
      server.kill("SIGKILL");
      await new Promise((resolve) => server.once("exit", resolve));
      server = await serve();
      backAt = performance.now();
    }
  }
}

const began = performance.now();
let looking: Promise<void> | undefined;
const looks = setInterval(() => {
  if (isMeasured())
    looking ??= look().finally(() => {
      looking = undefined;
    });
}, 1000);
await Promise.all(cookies.map(work)).catch((error) => {
  server.kill("SIGKILL");
  throw error;
});
clearInterval(looks);
await looking;
const seconds = (performance.now() - began) / 1000;
server.removeAllListeners("exit");
server.kill("SIGINT");
await new Promise((resolve) => server.once("exit", resolve));

const rows = await store.db.selectFrom("judgement").select(["id", "task", "labeler"]).execute();
const ids = new Set(rows.map(({ id }) => id));
const lost = [...acknowledged].filter((id) => !ids.has(id)).length;
const doubled = rows.length - new Set(rows.map(({ task, labeler }) => `${task} ${labeler}`)).size;
const byTask = new Map<string, number>();
for (const { task } of rows) byTask.set(task, (byTask.get(task) ?? 0) + 1);
const over = [...byTask.values()].filter((count) => count > overlap).length;
const exact = [...byTask.values()].filter((count) => count === overlap).length;
const { problems } = await verify(store);
await store.close();
await postgres?.stop();
rmSync(folder, { recursive: true });
const at = (q: number, times = nextTimes) => {
  times.sort((a, b) => a - b);
  return Math.round((times[Math.min(times.length - 1, Math.floor(q * times.length))] ?? 0) * 10) / 10;
};
const found = {
  judgements: rows.length,
  lost,
  doubled,
  exact,
  over,
  problems: problems.length,
  requestsWhileDown: down,
  perSecond: Math.round(rows.length / seconds),
  p50: at(0.5),
  p99: at(0.99),
  most: at(1),
  atStart: at(1, atStart),
  afterKill: at(1, afterKill),
  p99WhileMeasured: at(0.99, whileMeasured),
  mostWhileMeasured: at(1, whileMeasured),
  looks: pageTimes.length,
  page: at(0.5, pageTimes),
};
if (values.json) console.log(JSON.stringify(found));
else
  console.log(
    `${found.judgements} judgements at ${found.perSecond} a second: ${lost} lost, ${doubled} doubled; ${exact} tasks with exactly ${overlap}, ${over} with more; ${found.problems} problems in the log\nnext task: median ${found.p50} ms, 99 % under ${found.p99} ms, longest ${found.most} ms; the first ones, all asked for at once, at most ${found.atStart} ms; in the 5 s after it was killed and back at most ${found.afterKill} ms (${down} requests had found it down)\nwhile the quality page is asked for each second: 99 % under ${found.p99WhileMeasured} ms, longest ${found.mostWhileMeasured} ms; the page takes ${found.page} ms (median of ${found.looks})`,
  );
if (lost || doubled || over || problems.length) process.exitCode = 1;
