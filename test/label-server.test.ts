import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { claimInvitation, createInvitation, openSession } from "../src/labels/accounts.ts";
import { labelerQuality } from "../src/labels/labelers.ts";
import { projectQuality } from "../src/labels/quality.ts";
import type { Scope } from "../src/labels/scopes.ts";
import { LabelStore } from "../src/labels/store.ts";
import { createToken } from "../src/labels/tokens.ts";
import { verify } from "../src/labels/verify.ts";
import { qualitySchema } from "../src/server/labels/schemas.ts";
import { jsonLines, plumbline, succeed } from "./cli.ts";
import { noPostgres, startPostgres } from "./postgres.ts";

const bin = fileURLToPath(new URL("../bin/plumbline.mjs", import.meta.url));

/** The real server on any free port, or the one given. */
async function serve(
  store: string,
  port = 0,
  options: string[] = [],
): Promise<{ child: ChildProcess; address: string; link?: string }> {
  const child = spawn(
    process.execPath,
    [bin, "serve", "--store", store, "--port", String(port), "--json", ...options],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  running.push(child);
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
  return { child, ...JSON.parse(line) };
}
/** What a failed test leaves. */
const running: ChildProcess[] = [];
afterAll(() => {
  for (const child of running) child.kill("SIGKILL");
});
const ended = (child: ChildProcess) => new Promise((resolve) => child.once("exit", resolve));

/** A project of 40 tasks for three of six labelers each, who are signed in. */
async function fill(where: string) {
  const store = await LabelStore.open(where);
  const owner = await store.addUser(null, { name: "owner", role: "owner" });
  const settings = { kind: "pairwise", overlap: 3, maxOverlap: 3, goldRate: 0, repeatRate: 0 } as const;
  const project = await store.addProject(owner.id, { name: "p", settings });
  await store.addTasks(
    owner.id,
    project,
    Array.from({ length: 40 }, (_, i) => ({
      messages: [{ role: "user" as const, content: `q${i}` }],
      completions: [{ text: "a" }, { text: `b${i}` }],
    })),
  );
  const cookies: string[] = [];
  for (let k = 0; k < 6; k++) {
    const { token } = await createInvitation(store, owner.id, "labeler", project.id);
    const user = await claimInvitation(store, token, { name: `labeler ${k}`, password: "a long password" });
    cookies.push(`plumbline=${(await openSession(store, user.id)).token}`);
  }
  const owners = `plumbline=${(await openSession(store, owner.id)).token}`;
  return { store, project, cookies, owners };
}

describe.each(["SQLite", "Postgres"].filter((name) => name === "SQLite" || !noPostgres))(
  "the server on %s",
  (name) => {
    let database: Awaited<ReturnType<typeof startPostgres>> | undefined;
    beforeAll(async () => {
      if (name === "Postgres") database = await startPostgres();
    });
    afterAll(() => database?.stop());

    it("has every acknowledged judgement exactly once after a kill", async () => {
      const where =
        (await database?.fresh()) ?? join(mkdtempSync(join(tmpdir(), "label-server-")), "labels.db");
      const { store, project, cookies } = await fill(where);
      let server = await serve(where);
      const port = Number(new URL(server.address).port);
      const acknowledged: string[] = [];
      let restarting: Promise<void> | undefined;
      const restart = async () => {
        server.child.removeAllListeners("exit");
        const gone = ended(server.child);
        server.child.kill("SIGKILL");
        await gone;
        server = await serve(where, port);
      };
      const ask = async (cookie: string, path: string, body: object) => {
        for (;;) {
          await restarting;
          try {
            const reply = await fetch(`http://127.0.0.1:${port}/api${path}`, {
              method: "POST",
              headers: { "content-type": "application/json", "x-plumbline": "1", cookie },
              body: JSON.stringify(body),
            });
            expect(reply.status).toBe(200);
            return (await reply.json()) as { assignment: { lease: string } | null; id: string };
          } catch (error) {
            // The connection died with the server; what else goes wrong is told.
            if ((error as Error).name === "AssertionError") throw error;
          }
        }
      };
      const work = async (cookie: string) => {
        for (;;) {
          const { assignment } = await ask(cookie, `/projects/${project.id}/next`, {});
          if (!assignment) return;
          const answer = { answer: { preference: 3 }, seconds: 1 };
          const { id } = await ask(cookie, `/leases/${assignment.lease}/judgement`, answer);
          acknowledged.push(id);
          if (!restarting && acknowledged.length >= 50) restarting = restart();
        }
      };
      await Promise.all(cookies.map(work));
      server.child.removeAllListeners("exit");
      const gone = ended(server.child);
      server.child.kill("SIGTERM");
      await gone;
      const rows = await store.db.selectFrom("judgement").select(["id", "task", "labeler"]).execute();
      const ids = new Set(rows.map(({ id }) => id));
      expect(acknowledged.filter((id) => !ids.has(id))).toEqual([]);
      expect(new Set(rows.map(({ task, labeler }) => `${task} ${labeler}`)).size).toBe(rows.length);
      expect(rows).toHaveLength(120);
      expect((await verify(store)).problems).toEqual([]);
      await store.close();
    });

    it("shares a store with another process: nothing is lost, doubled or refused", async () => {
      const where = (await database?.fresh()) ?? join(mkdtempSync(join(tmpdir(), "label-two-")), "labels.db");
      const { store, project, cookies, owners } = await fill(where);
      const servers = [await serve(where), await serve(where)];
      const refused: string[] = [];
      const acknowledged: string[] = [];
      let turn = 0;
      const ask = async (cookie: string, method: string, path: string, body: object) => {
        const reply = await fetch(`${servers[turn++ % 2]?.address}/api${path}`, {
          method,
          headers: { "content-type": "application/json", "x-plumbline": "1", cookie },
          body: JSON.stringify(body),
        });
        if (reply.status !== 200) refused.push(`${path}: ${await reply.text()}`);
        else return (await reply.json()) as { assignment: { lease: string } | null; id: string };
      };
      const work = async (cookie: string) => {
        for (;;) {
          const { assignment } = (await ask(cookie, "POST", `/projects/${project.id}/next`, {})) ?? {};
          if (!assignment) return;
          await ask(cookie, "PUT", `/leases/${assignment.lease}/draft`, { draft: "begun" });
          const answer = { answer: { preference: 3 }, seconds: 1 };
          // Sent to both: a page sends again when it hears nothing.
          const sent = await Promise.all(
            [1, 2].map(() => ask(cookie, "POST", `/leases/${assignment.lease}/judgement`, answer)),
          );
          expect(sent[0]?.id).toBe(sent[1]?.id);
          acknowledged.push(sent[0]?.id as string);
        }
      };
      await Promise.all(cookies.map(work));
      expect(refused).toEqual([]);
      // Reckoned in a thread of its own, they are the same numbers.
      const page = async (name: string) => {
        const url = `${servers[0]?.address}/api/projects/${project.id}/${name}`;
        return (await fetch(url, { headers: { cookie: owners } })).json();
      };
      expect(await page("quality")).toEqual(
        JSON.parse(JSON.stringify(qualitySchema.parse(await projectQuality(store, project)))),
      );
      expect(await page("labelers")).toEqual(
        JSON.parse(JSON.stringify(await labelerQuality(store, project))),
      );
      for (const { child } of servers) {
        child.removeAllListeners("exit");
        const gone = ended(child);
        child.kill("SIGTERM");
        await gone;
      }
      const rows = await store.db.selectFrom("judgement").select(["id", "task", "labeler"]).execute();
      expect(rows.map(({ id }) => id).sort()).toEqual(acknowledged.sort());
      expect(new Set(rows.map(({ task, labeler }) => `${task} ${labeler}`)).size).toBe(120);
      expect((await verify(store)).problems).toEqual([]);
      await store.close();
    });
  },
);
if (noPostgres) console.log(`the server on Postgres: skipped, ${noPostgres}`);

describe("plumbline serve and labels", () => {
  const folder = mkdtempSync(join(tmpdir(), "labels-cli-"));
  const store = join(folder, "labels.db");

  it("reports an invalid address, port or store", async () => {
    const { child, address, link } = await serve(join(folder, "serve.db"));
    expect(link).toMatch(/\/claim\/[\w-]{43}$/);
    const port = new URL(address).port;
    const wrong: [string[], RegExp][] = [
      [["serve", "--store", join(folder, "other.db"), "--port", port], /port \d+ .* is taken/],
      [["serve", "--store", store, "--port", "x"], /--port x: expected a number/],
      [["serve", "--store", store, "--trust-proxy", "1"], /--trust-proxy "1": expected an address/],
      [["serve", "--store", store, "--trust-proxy", "loopback,10.0.0.0/33"], /"10.0.0.0\/33": expected/],
      [["serve", "--store", store, "--base-path", "https://a.example/x"], /--base-path .*expected a path/],
      [["serve", "--store", store, "--base-path", "/a/../b"], /--base-path .*expected a path/],
      [
        ["serve", "--store", join(folder, "host.db"), "--host", "203.0.113.7", "--port", "0"],
        /no such address/,
      ],
      [["serve", "--store", "postgres://u:secret@127.0.0.1:9/x"], /\/\/…@127.*cannot be opened/],
      [["labels", "export", "--store", store], /no such label store/],
      [["labels", "export", "--store", join(folder, "serve.db")], /name the project .*: this store has none/],
      [["labels", "import", join(folder, "no.jsonl"), "--store", store], /no such file/],
      [["reward", "--model", "m"], /either --data.* or --labels/],
      [
        ["reward", "--model", "m", "--labels", join(folder, "serve.db"), "--project", "x"],
        /no project "x"; this store has none/,
      ],
    ];
    for (const [args, why] of wrong) {
      const { code, stderr } = await plumbline(args);
      expect([code, stderr], args.join(" ")).toEqual([1, expect.stringMatching(why)]);
      expect(stderr).not.toContain("secret");
      expect(stderr).not.toMatch(/\n\s+at /);
    }
    expect(existsSync(store)).toBe(false);
    child.removeAllListeners("exit");
    child.kill("SIGINT");
    await ended(child);
  });

  it("warns of plain http where other machines can connect, and prints an address that they can reach", async () => {
    const options = ["--store", join(folder, "open.db"), "--host", "0.0.0.0", "--port", "0", "--json"];
    const { stdout, stderr } = await plumbline(["serve", ...options], {
      during: (child) => child.stdout?.once("data", () => child.kill("SIGTERM")),
    });
    expect(stderr).toMatch(/^warning: this is plain http/);
    const reachable = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .filter(({ internal }) => !internal)
      .map(({ address }) => address);
    expect(reachable.length ? reachable : ["127.0.0.1"]).toContain(
      new URL(JSON.parse(stdout).address).hostname,
    );
  });

  it("imports, exports and verifies; known answers are not exported for training", async () => {
    const file = join(folder, "pairs.jsonl");
    const rows = [0, 1, 2].map((i) => ({ prompt: `p${i}`, chosen: `good ${i}`, rejected: `bad ${i}` }));
    writeFileSync(file, [...rows, { ...rows[0], rejected: "" }].map((row) => JSON.stringify(row)).join("\n"));
    const args = ["--store", store, "--project", "known", "--json"];
    const found = JSON.parse(
      await succeed(["labels", "import", file, "--kind", "pairwise", "--gold", ...args]),
    );
    expect(found).toMatchObject({ format: "preference", rows: 4, kept: 3, dropped: { "empty reply": 1 } });
    const again = JSON.parse(await succeed(["labels", "import", file, "--gold", ...args]));
    expect(again).toMatchObject({ kept: 0, dropped: { "in the project already": 3, "empty reply": 1 } });
    const log = jsonLines(await succeed(["labels", "export", "--store", store, "--format", "log"]));
    const added = ["task added", "task added", "task added"];
    expect(log.map(({ type }) => type)).toEqual(["project added", "imported", ...added]);
    expect(JSON.parse(log[2].data).gold).toEqual({ preference: 1 });
    expect(JSON.parse(await succeed(["labels", "verify", "--store", store, "--json"])).problems).toEqual([]);
    // Nothing to export is an error, as nothing to import is, and leaves no file.
    const out = join(folder, "none.jsonl");
    const none = await plumbline(["labels", "export", "--store", store, "--out", out]);
    expect([none.code, none.stderr]).toEqual([
      1,
      expect.stringMatching(/"known" has nothing to export as rank/),
    ]);
    expect(existsSync(out)).toBe(false);
  });

  it("imports a file's judgements, and exports them as tables", async () => {
    const file = join(folder, "judged.jsonl");
    const rows = ["ann", "bob"].map((labeler) => ({
      prompt: "p",
      chosen: 'good, or "better"',
      rejected: "bad",
      strength: 3,
      labeler,
    }));
    writeFileSync(file, rows.map((row) => JSON.stringify(row)).join("\n"));
    const imported = (path: string, at: string) =>
      succeed(["labels", "import", path, "--kind", "pairwise", "--judgements", "--store", at]);
    const first = join(folder, "first.db");
    expect(await imported(file, first)).toMatch(/1 tasks added .*\n {2}2 judgements of them/);
    const judgements = async (at: string) =>
      jsonLines(await succeed(["labels", "export", "--store", at, "--format", "rankings"])).map(
        ({ prompt, completions, ranks, strength, labeler, weight }) => ({
          prompt,
          strength,
          labeler,
          weight,
          better: completions[ranks.indexOf(1)],
        }),
      );
    const said = await judgements(first);
    expect(said).toHaveLength(2);
    for (const extension of ["csv", "parquet", "json"]) {
      const table = join(folder, `out.${extension}`);
      const format = ["--format", "preference", "--margins"];
      await succeed(["labels", "export", "--store", first, ...format, "--out", table]);
      const again = join(folder, `${extension}.db`);
      await imported(table, again);
      expect(await judgements(again)).toEqual(said);
      expect(await succeed(["data", "check", table])).toContain("preference (comparison data)");
    }
    const hh = await plumbline(["labels", "export", "--store", first, "--format", "ultrafeedback"]);
    expect(hh).toMatchObject({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/ultrafeedback: 1 tasks left out: its judgements have nothing/),
    });
    for (const ending of ["xlsx", "tsv", "jsonl.gz"]) {
      const out = join(folder, `out.${ending}`);
      const { code, stderr } = await plumbline(["labels", "export", "--store", first, "--out", out]);
      expect([code, stderr]).toEqual([
        1,
        expect.stringMatching(/those known are .jsonl, .json, .csv, .parquet/),
      ]);
      expect(existsSync(out)).toBe(false);
    }
    const both = await plumbline(["labels", "import", file, "--gold", "--judgements", "--store", first]);
    expect([both.code, both.stderr]).toEqual([1, expect.stringMatching(/cannot be used with/)]);
  });

  it("imports the first rows of a file, and drops malformed ones with their lines", async () => {
    const file = join(folder, "mixed.jsonl");
    const good = (i: number) => ({ prompt: `p${i}`, chosen: "a", rejected: "b" });
    const rows = [good(0), { ...good(1), chosen: 5 }, good(2), good(3)];
    writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const at = ["--kind", "pairwise", "--store", join(folder, "limited.db")];
    const first = await succeed(["labels", "import", file, ...at, "--project", "three", "--limit", "3"]);
    expect(first).toMatch(
      /3 rows\n {2}2 tasks added to "three"\n +1 {2}dropped: malformed row: chosen: .*\(line 2\)/,
    );
    expect(await succeed(["labels", "import", file, ...at, "--project", "all"])).toMatch(
      /3 tasks added to "all"/,
    );
    for (const limit of ["0", "1.5", "x"]) {
      const { code, stderr } = await plumbline(["labels", "import", file, ...at, "--limit", limit]);
      expect([code, stderr]).toEqual([1, expect.stringMatching(/should be a whole number, 1 or more/)]);
    }
    writeFileSync(file, JSON.stringify({ ...good(1), chosen: 5 }));
    const none = await plumbline(["labels", "import", file, ...at, "--project", "none"]);
    expect([none.code, none.stderr]).toEqual([
      1,
      expect.stringMatching(/no row can be imported.*malformed row/),
    ]);
    // Which is before the project is made: see `labels export`'s list of projects.
    const listed = await plumbline(["labels", "export", "--store", join(folder, "limited.db")]);
    expect(listed.stderr).toMatch(/this store has "three", "all"\n/);
  });

  it("import and export through a server, with a token from the environment", async () => {
    const where = join(folder, "remote.db");
    const opened = await LabelStore.open(where);
    const owner = await opened.addUser(null, { name: "owner", role: "owner" });
    const tokenOf = async (scopes: Scope[]) =>
      (await createToken(opened, owner, { name: "cli", scopes, days: 1, project: null })).token;
    const [all, reader] = [await tokenOf(["read", "import", "manage"]), await tokenOf(["read"])];
    const { child, address } = await serve(where, 0, ["--base-path", "/labels"]);
    expect(address).toMatch(/\/labels$/);
    const run = (token: string, ...args: string[]) =>
      plumbline(["labels", ...args, "--store", `${address}/`], { env: { PLUMBLINE_TOKEN: token } });
    const file = join(folder, "remote.jsonl.gz");
    const rows = ["ann", "bob"].map((labeler) => ({ question: "p", chosen: "a", rejected: "b", labeler }));
    const bad = { question: 1, chosen: "a", rejected: "b" };
    writeFileSync(file, gzipSync([...rows, bad].map((row) => JSON.stringify(row)).join("\n")));
    const columns = ["--columns", "prompt=question"];
    const judged = ["--judgements", "--project", "remote"];
    const made = await run(all, "import", file, "--kind", "pairwise", ...judged, ...columns);
    expect(made).toMatchObject({ code: 0, stderr: "" });
    expect(made.stdout).toMatch(
      /3 rows\n {2}1 tasks added to "remote"\n {2}2 judgements of them\n +1 {2}dropped: malformed row: prompt: .*\(line 3\)/,
    );
    const again = await run(all, "import", file, ...judged, ...columns, "--json");
    expect(JSON.parse(again.stdout)).toMatchObject({ kept: 0, judgements: 0 });
    const local = await succeed(["labels", "export", "--store", where, "--margins"]);
    expect(jsonLines(local)).toHaveLength(2);
    expect(await run(reader, "export", "--margins")).toMatchObject({ code: 0, stdout: local, stderr: "" });
    const [here, there] = [join(folder, "here.csv"), join(folder, "there.csv")];
    await succeed(["labels", "export", "--store", where, "--format", "preference", "--out", here]);
    expect((await run(reader, "export", "--format", "preference", "--out", there)).code).toBe(0);
    expect(readFileSync(there)).toEqual(readFileSync(here));

    const wrong: [Promise<{ code: number | null; stderr: string }>, RegExp][] = [
      [run(reader, "import", file, ...judged, ...columns), /needs a token with the scope "import"/],
      [run("plumbline_x", "export"), /this token is wrong, revoked or expired/],
      [
        plumbline(["labels", "export", "--store", address], { env: { PLUMBLINE_TOKEN: "" } }),
        /set PLUMBLINE_TOKEN to a token/,
      ],
      [run(reader, "export", "--project", "other"), /no project "other"; this store has "remote"/],
      [
        run(reader, "export", "--format", "ultrafeedback"),
        /nothing to export as ultrafeedback: 1 tasks left/,
      ],
      [run(reader, "verify"), /only `labels import` and `labels export` work through a label app/],
      [
        plumbline(["labels", "export", "--store", `${address}/base`], { env: { PLUMBLINE_TOKEN: reader } }),
        /no label app's address, or lacks its base path/,
      ],
      [
        plumbline(["labels", "export", "--store", new URL(address).origin], {
          env: { PLUMBLINE_TOKEN: reader },
        }),
        /the label app is at \/labels\//,
      ],
      [
        plumbline(["labels", "export", "--store", "http://127.0.0.1:9"], {
          env: { PLUMBLINE_TOKEN: reader },
        }),
        /cannot be reached/,
      ],
    ];
    for (const [outcome, why] of wrong) {
      const { code, stderr } = await outcome;
      expect([code, stderr]).toEqual([1, expect.stringMatching(why)]);
      expect(stderr).not.toMatch(/\n\s+at |plumbline_/);
    }
    const open = await plumbline(["labels", "export", "--store", "http://plumbline.invalid"], {
      env: { PLUMBLINE_TOKEN: reader },
    });
    expect(open.stderr).toMatch(/^warning: this is plain http.*\nerror: .*cannot be reached/);
    await opened.close();
    child.removeAllListeners("exit");
    child.kill("SIGTERM");
    await ended(child);
  });

  it("measures the agreement in a table, and reports an invalid one", async () => {
    const table = (text: string) => {
      const path = join(folder, "ratings.csv");
      writeFileSync(path, text);
      return path;
    };
    // The second of agreement.test.ts's known answers, as rows.
    const known = [
      "1 2 3 3 2 1 4 1 2 * * *",
      "1 2 3 3 2 2 4 1 2 5 * 3",
      "* 3 3 3 2 3 4 2 2 5 1 *",
      "1 2 3 3 2 4 4 1 2 5 1 *",
    ].flatMap((row, labeler) =>
      row.split(" ").flatMap((label, item) => (label === "*" ? [] : [`${item},${labeler},${label}`])),
    );
    const path = table(["item,labeler,label", ...known].join("\n"));
    const ordinal = JSON.parse(await succeed(["labels", "agreement", path, "--scale", "ordinal", "--json"]));
    expect(ordinal.alpha.value.value).toBeCloseTo(0.815, 3);
    const nominal = await succeed(["labels", "agreement", path]);
    expect(nominal).toMatch(/Krippendorff's α {2}0\.743/);
    // Ordinal labels that are near count in part in κ, but equal is equal.
    expect(nominal).toMatch(/Cohen's κ +equal +items/);
    const weighted = await succeed(["labels", "agreement", path, "--scale", "ordinal"]);
    expect(weighted).toMatch(/weighted κ +equal +items\n0, 2 +0\.5 +0\.625 +8/);
    const wrong: [string, string[], RegExp][] = [
      ["item,label\na,1", [], /ratings\.csv:1: no column "labeler"/],
      ["item,labeler,label\na,x,1\n,y,2", [], /ratings\.csv:3: item is empty/],
      ["item,labeler,label\na,x,1\na,x,2", [], /:3: labeler "x" rates item "a" again, after line 2/],
      ["item,labeler,label\na,x,yes", ["--scale", "ordinal"], /:2: label "yes" is not a number/],
      [
        "item,labeler,label\na,x,-1\na,y,1",
        ["--scale", "ratio"],
        /:2: label "-1" is below 0.*interval scale/,
      ],
      ['item,labeler,label\na,"x,1', [], /not valid CSV/],
      ["item,labeler,label\n", [], /no rows/],
    ];
    for (const [text, args, why] of wrong) {
      const { code, stderr } = await plumbline(["labels", "agreement", table(text), ...args]);
      expect([code, stderr]).toEqual([1, expect.stringMatching(why)]);
    }
  });
});
