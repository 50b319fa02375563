import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { DiskError, InputError } from "../data/errors.ts";
import { readJsonl } from "../data/jsonl.ts";
import type { Event } from "./events.ts";
import { openRun, type Run, type RunOptions } from "./run.ts";

const newDir = () => join(mkdtempSync(join(tmpdir(), "plumbline-run-")), "run");
const options: RunOptions = {
  stage: "ppo",
  config: { seed: 3, ppo: { clipRange: 0.2 } },
  versions: { plumbline: "0.1.0" },
  parents: ["runs/sft"],
  resume: false,
};
const resume = { ...options, resume: true };
const step = (n: number): Event => ({ type: "step", step: n, total: 9, metrics: { loss: 1 } });
const sample = (n: number): Event => ({ type: "sample", step: n, prompt: "p", response: "r" });
const save = (run: Run, n: number, more = {}) =>
  run.checkpoint(n, (dir) => writeFileSync(join(dir, "model"), `weights ${n}`), { keep: 2, ...more });
const log = (dir: string, name = "events") => readJsonl(join(dir, `${name}.jsonl`)).map((row) => row.value);

test("a new run writes run.json, events and samples", () => {
  const dir = newDir();
  const run = openRun(dir, options);
  run.write({ type: "step", step: 1, total: 9, metrics: { loss: Number.NaN } });
  run.write(sample(1));
  run.finish();
  run.finish();
  expect(JSON.parse(readFileSync(join(dir, "run.json"), "utf8"))).toEqual({
    format: 2,
    data: {},
    stage: "ppo",
    config: options.config,
    seed: 3,
    versions: options.versions,
    created: expect.stringMatching(/^\d{4}-.*Z$/),
    parents: ["runs/sft"],
  });
  expect(log(dir)).toEqual([
    { time: expect.any(String), type: "step", step: 1, total: 9, metrics: { loss: null } },
  ]);
  expect(log(dir, "samples")).toMatchObject([{ type: "sample", prompt: "p" }]);
  expect(readdirSync(dir).sort()).toEqual(["checkpoints", "events.jsonl", "run.json", "samples.jsonl"]);
});

test("a directory in use is refused, and left as it was", () => {
  const dir = newDir();
  mkdirSync(dir);
  writeFileSync(join(dir, "notes"), "");
  expect(() => openRun(dir, options)).toThrow(InputError);
  expect(() => openRun(dir, options)).toThrow(/not empty; use --resume .* or another name/);
  expect(readdirSync(dir)).toEqual(["notes"]);
});

test("resuming needs a run, and the same stage and config", () => {
  const missing = newDir();
  expect(() => openRun(missing, resume)).toThrow(/no run to resume/);
  expect(existsSync(missing)).toBe(false);
  const dir = newDir();
  openRun(dir, options).finish();
  expect(() => openRun(dir, { ...resume, stage: "sft" })).toThrow(/a run of ppo, not of sft/);
  const config = { seed: 4, ppo: { clipRange: 0.3 }, extra: true };
  expect(() => openRun(dir, { ...resume, config })).toThrow(
    /differs from the run's in seed, ppo.clipRange, extra;/,
  );
  openRun(dir, resume).finish();
  writeFileSync(join(dir, "run.json"), '{"stage"');
  expect(() => openRun(dir, resume)).toThrow(/run\.json: the file is damaged/);
});

test("two writers are refused, and a dead one's lock is taken over", () => {
  const dir = newDir();
  const run = openRun(dir, options);
  expect(() => openRun(dir, resume)).toThrow(new RegExp(`process ${process.pid} is writing this run`));
  expect(() => openRun(dir, options)).toThrow(InputError);
  run.finish();
  // A pid beyond Linux's limit, then our own pid as some earlier process had it.
  for (const stale of ["4194999 12", `${process.pid} 1`]) {
    writeFileSync(join(dir, "lock"), stale);
    openRun(dir, resume).finish();
  }
  expect(existsSync(join(dir, "lock"))).toBe(false);
});

test("resuming goes back to the last complete checkpoint", () => {
  const dir = newDir();
  const run = openRun(dir, options);
  run.write({ type: "start", stage: "ppo", total: 9 });
  for (const n of [1, 2, 3]) {
    run.write(step(n));
    run.write(sample(n));
    if (n === 2) save(run, 2);
  }
  run.write({ type: "warning", code: "w", message: "after step 3" });
  run.finish();
  const checkpoints = join(dir, "checkpoints");
  appendFileSync(join(dir, "events.jsonl"), '{"type":"step","st');
  mkdirSync(join(checkpoints, ".tmp-3-99"));
  mkdirSync(join(checkpoints, "step-3")); // without complete.json
  const again = openRun(dir, resume);
  expect(again.latest()).toEqual({ step: 2, dir: join(checkpoints, "step-2") });
  expect(log(dir)).toMatchObject([{ type: "start" }, { step: 1 }, { step: 2 }]);
  expect(log(dir, "samples")).toMatchObject([{ step: 1 }, { step: 2 }]);
  expect(readdirSync(checkpoints)).toEqual(["step-2"]);
  save(again, 3);
  expect(again.latest()?.step).toBe(3);
  again.finish();
});

test("without a checkpoint a resumed run starts over", () => {
  const dir = newDir();
  const run = openRun(dir, options);
  run.write({ type: "start", stage: "ppo", total: 9 });
  run.finish();
  openRun(dir, resume).finish();
  expect(readFileSync(join(dir, "events.jsonl"), "utf8")).toBe("");
});

test("a log cut anywhere resumes to whole lines of the kept steps", () => {
  const dir = newDir();
  const run = openRun(dir, options);
  for (let n = 1; n <= 5; n++) {
    run.write(step(n));
    if (n === 3) save(run, n);
  }
  run.finish();
  const path = join(dir, "events.jsonl");
  const whole = readFileSync(path);
  const kept = whole
    .toString()
    .split(/(?<=\n)/)
    .slice(0, 3);
  fc.assert(
    fc.property(fc.nat(whole.length), (length) => {
      writeFileSync(path, whole.subarray(0, length));
      openRun(dir, resume).finish();
      let expected = "";
      for (const line of kept) if (expected.length + line.length <= length) expected += line;
      expect(readFileSync(path, "utf8")).toBe(expected);
    }),
  );
});

test("old checkpoints are deleted, except the newest and the best", () => {
  const dir = newDir();
  const run = openRun(dir, options);
  save(run, 8);
  save(run, 9, { best: true });
  for (const n of [10, 11, 12]) save(run, n);
  expect(readdirSync(join(dir, "checkpoints")).sort()).toEqual(["best.json", "step-11", "step-12", "step-9"]);
  expect(run.best()?.step).toBe(9);
  expect(run.latest()?.step).toBe(12);
  save(run, 12, { best: true, keep: 1 });
  expect(readdirSync(join(dir, "checkpoints")).sort()).toEqual(["best.json", "step-12"]);
  run.finish();
});

test.skipIf(!existsSync("/dev/full"))("a full disk loses nothing that was saved", () => {
  const dir = newDir();
  const run = openRun(dir, options);
  save(run, 1);
  const full = () => run.checkpoint(2, () => writeFileSync("/dev/full", "weights"), { keep: 1 });
  expect(full).toThrow(DiskError);
  expect(full).toThrow(/step-2: the disk is full\. Nothing that was already saved is lost/);
  expect(readdirSync(join(dir, "checkpoints"))).toEqual(["step-1"]);
  run.finish();
});

test("kill -9 at any moment loses at most the step in flight", { timeout: 60_000 }, async () => {
  const dir = newDir();
  const child = `
    import { writeFileSync } from "node:fs";
    import { openRun } from ${JSON.stringify(join(import.meta.dirname, "run.ts"))};
    const resume = process.argv[1] === "resume";
    const run = openRun(${JSON.stringify(dir)}, { ...${JSON.stringify(options)}, resume });
    console.log("open");
    for (let step = (run.latest()?.step ?? 0) + 1; ; step++) {
      run.write({ type: "step", step, total: 1e9, metrics: {} });
      run.checkpoint(step, (dir) => {
        for (const part of ["a", "b", "c"]) writeFileSync(dir + "/" + part, String(step));
      }, { keep: 2 });
      console.log(step);
    }`;
  for (let round = 0; round < 4; round++) {
    const how = round === 0 ? "new" : "resume";
    const args = ["--import", "tsx", "--input-type=module", "--eval", child, how];
    const writer = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    let told = "";
    writer.stdout.on("data", (data) => {
      told += data;
    });
    await once(writer.stdout, "data");
    await new Promise((resolve) => setTimeout(resolve, 60 + 17 * round));
    writer.kill("SIGKILL");
    await once(writer, "close");

    const saved = Number(/(\d+)\n$/.exec(told)?.[1] ?? 0);
    const run = openRun(dir, resume);
    const latest = run.latest();
    run.finish();
    expect(latest?.step).toBeGreaterThanOrEqual(saved);
    for (const part of ["a", "b", "c"]) {
      expect(readFileSync(join(latest?.dir ?? "", part), "utf8")).toBe(String(latest?.step));
    }
    expect(log(dir).map((event) => (event as { step: number }).step)).toEqual(
      Array.from({ length: latest?.step ?? 0 }, (_, i) => i + 1),
    );
  }
});
