import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { Event } from "../src/run/events.ts";
import { newestCheckpoint } from "../src/run/run.ts";
import { Interrupted, type Training } from "../src/run/training.ts";
import { dpo } from "../src/stages/dpo/train.ts";
import { grpo } from "../src/stages/grpo/train.ts";
import { onlineDpo } from "../src/stages/online-dpo/train.ts";
import { ppo } from "../src/stages/ppo/train.ts";
import { rejection } from "../src/stages/rejection/train.ts";
import { reward } from "../src/stages/reward/train.ts";
import { sft } from "../src/stages/sft/train.ts";
import { memory } from "../src/tensor/index.ts";
import { interruptAtFirstStep, jsonLines, plumbline, set, succeed } from "./cli.ts";
import { tinyModel } from "./tiny.ts";

let dir: string;
const at = (...names: string[]) => join(dir, ...names);

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "interrupt-"));
  const model = tinyModel();
  model.save(at("tiny"));
  model.withScoreHead({ std: 0.5 }).save(at("judge"));
  model.dispose();
  const numbers = Array.from({ length: 24 }, (_, i) => i);
  const write = (name: string, row: (i: number) => unknown) =>
    writeFileSync(at(name), numbers.map((i) => `${JSON.stringify(row(i))}\n`).join(""));
  write("demonstrations.jsonl", (i) => ({ prompt: `say ${i}`, completion: `it is ${i}` }));
  write("comparisons.jsonl", (i) => ({ prompt: `say ${i}`, chosen: `it is ${i}`, rejected: `no ${i * i}` }));
  write("prompts.jsonl", (i) => ({ prompt: `say ${i}` }));
  writeFileSync(at("empty.jsonl"), "");
  // A reward that sends its own process Ctrl-C while it scores the responses of the third step, once.
  writeFileSync(
    at("interrupting.mjs"),
    `import { createHash } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
let calls = 0;
export default (prompt, text) => {
  const mark = process.env.INTERRUPTED;
  if (++calls === 17 && mark && !existsSync(mark)) {
    writeFileSync(mark, "");
    process.kill(process.pid, "SIGINT");
    return new Promise((resolve) => setTimeout(resolve, 500, text.length)); // the signal is heard meanwhile
  }
  return text.length;
};
`,
  );
});

const supervised = { batchSize: 4, epochs: 1, saveEvery: 100, heldOut: 0 };
const sampled = {
  steps: 6,
  batchSize: 8,
  samplesPerPrompt: 4,
  maxTokens: 8,
  saveEvery: 100,
  learningRate: 1e-3,
};

interface Stage {
  // biome-ignore lint/suspicious/noExplicitAny: every stage has options of its own
  train: (options: any) => Training<any>;
  /** Paths by the option's name. */
  inputs: () => Record<string, string>;
  /** Input whose file, if empty, makes the stage fail after its models are loaded. */
  data: string;
  settings: Record<string, unknown>;
}

const rows = (data: string) => () => ({ model: at("tiny"), data: at(data) });
const prompts = () => ({ policy: at("tiny"), reward: at("judge"), prompts: at("prompts.jsonl") });
const stages: Record<string, Stage> = {
  sft: { train: sft, inputs: rows("demonstrations.jsonl"), data: "data", settings: supervised },
  reward: {
    train: reward,
    inputs: rows("comparisons.jsonl"),
    data: "data",
    settings: { ...supervised, normaliseSamples: 8, sampleTokens: 8 },
  },
  dpo: { train: dpo, inputs: rows("comparisons.jsonl"), data: "data", settings: supervised },
  ppo: {
    train: ppo,
    inputs: prompts,
    data: "prompts",
    settings: { ...sampled, miniBatchSize: 4, allowNoSft: true },
  },
  grpo: { train: grpo, inputs: prompts, data: "prompts", settings: { ...sampled, allowNoSft: true } },
  "online-dpo": {
    train: onlineDpo,
    inputs: prompts,
    data: "prompts",
    settings: { ...sampled, allowNoSft: true },
  },
  rejection: {
    train: rejection,
    inputs: prompts,
    data: "prompts",
    // Of the 5 steps of a round the first 3 sample 8 responses each.
    settings: {
      rounds: 2,
      promptsPerRound: 6,
      samplesPerPrompt: 4,
      rolloutBatchSize: 8,
      batchSize: 3,
      maxTokens: 8,
      saveEvery: 100,
      learningRate: 1e-3,
      allowNoSft: true,
    },
  },
};
const all = Object.entries(stages);
const sampling = all.filter(([, { data }]) => data === "prompts");

/** Follows a training; `onEvent` may abort it or end the iteration by returning true. @returns its error, if any */
async function follow(training: Training<unknown>, onEvent: (event: Event) => unknown): Promise<unknown> {
  try {
    for await (const event of training) if (onEvent(event) === true) return;
    const { model } = (await training.done()) as { model: { dispose(): void } };
    model.dispose();
  } catch (error) {
    return error;
  }
}

/** Hashes all weight files of a run's newest checkpoint. */
function weights(run: string): Record<string, string> {
  const { dir: checkpoint } = newestCheckpoint(run) as { dir: string };
  return Object.fromEntries(
    readdirSync(checkpoint, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".safetensors"))
      .map((name) => [
        name,
        createHash("sha256")
          .update(readFileSync(join(checkpoint, name)))
          .digest("hex"),
      ]),
  );
}

const typesOf = (run: string): string[] =>
  jsonLines(readFileSync(join(run, "events.jsonl"), "utf8")).map(({ type }) => type);

describe("an abort in the middle of a step, as a library", () => {
  it.each(sampling)("%s saves the last whole step, and resumes to the same bits", async (name, stage) => {
    const controller = new AbortController();
    let calls = 0;
    const length = (interrupts: boolean) => (_: unknown, text: string) => {
      if (interrupts && ++calls === 2 * 8 + 1) controller.abort();
      return text.length;
    };
    const run = at(`${name}-library`);
    const options = (interrupts: boolean) => ({
      ...stage.inputs(),
      ...stage.settings,
      reward: Object.defineProperty(length(interrupts), "name", { value: "length" }),
    });
    const { signal } = controller;
    const error = await follow(stage.train({ ...options(true), run, signal }), () => {});
    expect(error).toBeInstanceOf(Interrupted);
    expect(String(error)).toMatch(/after step 2/);
    expect(newestCheckpoint(run)?.step).toBe(2);
    expect(typesOf(run).at(-1)).toBe("interrupted");
    await follow(stage.train({ ...options(false), run, resume: true }), () => {});
    await follow(stage.train({ ...options(false), run: `${run}-whole` }), () => {});
    expect(weights(run)).toEqual(weights(`${run}-whole`));
  });

  const between = all.flatMap(([name, stage]) => [0, 2].map((last) => [name, last, stage] as const));
  it.each(between)("%s, aborted after step %i, resumes to the same bits", async (name, last, stage) => {
    const controller = new AbortController();
    const run = at(`${name}-after-${last}`);
    const options = { ...stage.inputs(), ...stage.settings };
    const error = await follow(stage.train({ ...options, run, signal: controller.signal }), (event) => {
      if (last === 0 ? event.type === "start" : event.type === "step" && event.step === last)
        controller.abort();
    });
    expect(error).toBeInstanceOf(Interrupted);
    await follow(stage.train({ ...options, run, resume: true }), () => {});
    await follow(stage.train({ ...options, run: `${run}-whole` }), () => {});
    expect(weights(run)).toEqual(weights(`${run}-whole`));
  });

  it.each(["reward", "dpo"])(
    "%s, aborted in the work before or after its steps, loses none",
    async (name) => {
      const stage = stages[name] as Stage;
      const run = at(`${name}-phase`);
      const options = { ...stage.inputs(), ...stage.settings };
      const controller = new AbortController();
      const error = await follow(stage.train({ ...options, run, signal: controller.signal }), (event) => {
        if (event.type === "phase") controller.abort();
      });
      expect(error).toBeInstanceOf(Interrupted);
      expect(typesOf(run).at(-1)).toBe("interrupted");
      await follow(stage.train({ ...options, run, resume: true }), () => {});
      await follow(stage.train({ ...options, run: `${run}-whole` }), () => {});
      expect(weights(run)).toEqual(weights(`${run}-whole`));
    },
  );
});

describe("Ctrl-C in the middle of a step, by command line", () => {
  it.each(sampling)(
    "%s saves the last whole step, says how to go on, and resumes to the same bits",
    async (name, stage) => {
      const args = (run: string) => [
        name,
        ...Object.entries({ ...stage.inputs(), reward: "interrupting.mjs" }).flatMap(([key, path]) => [
          `--${key}`,
          path,
        ]),
        ...set(stage.settings),
        "--run",
        run,
      ];
      const env = { INTERRUPTED: at(`${name}-mark`) };
      const outcome = await plumbline(args(`${name}-cli`), { cwd: dir, env });
      expect(outcome.code, outcome.stderr).toBe(130);
      expect(outcome.stderr).toMatch(/finishing the step and saving/);
      expect(outcome.stderr).toMatch(/interrupted after step 2; to go on: --resume /);
      expect(newestCheckpoint(at(`${name}-cli`))?.step).toBe(2);
      await succeed([name, "--resume", `${name}-cli`], { cwd: dir }); // nothing else is needed
      await succeed(args(`${name}-cli-whole`), { cwd: dir });
      expect(weights(at(`${name}-cli`))).toEqual(weights(at(`${name}-cli-whole`)));
    },
    60_000,
  );

  it.each(all.filter(([, { data }]) => data === "data"))(
    "%s saves and exits with 130",
    async (name, stage) => {
      const args = [
        name,
        ...Object.entries(stage.inputs()).flatMap(([key, path]) => [`--${key}`, path]),
        ...set({ ...stage.settings, epochs: 400 }),
        "--run",
        `${name}-cli`,
      ];
      const outcome = await plumbline(args, {
        cwd: dir,
        during: interruptAtFirstStep,
      });
      expect(outcome.code, outcome.stderr).toBe(130);
      expect(outcome.stderr).toMatch(/interrupted after step \d+; to go on: --resume /);
      expect(newestCheckpoint(at(`${name}-cli`))?.step).toBeGreaterThan(0);
    },
    60_000,
  );
});

describe("a training that does not come to its end leaves no tensor behind", () => {
  const variants = {
    "all weights": {},
    adapters: { lora: { rank: 2 } },
  };
  const cases = all.flatMap(([name, stage]) =>
    Object.entries(variants).map(([variant, more]) => [name, variant, stage, more] as const),
  );

  it.each(cases)("%s with %s, refused", async (_, __, stage, more) => {
    const before = memory().handles;
    const error = await follow(
      stage.train({ ...stage.inputs(), ...stage.settings, ...more, [stage.data]: at("empty.jsonl") }),
      () => {},
    );
    expect(error).toBeInstanceOf(Error);
    expect(memory().handles).toBe(before);
  });

  it.each(cases)("%s with %s, refused by its run directory", async (name, variant, stage, more) => {
    const run = at(`taken-${name}-${variant}`);
    await follow(stage.train({ ...stage.inputs(), ...stage.settings, ...more, run }), () => true);
    expect(existsSync(join(run, "run.json"))).toBe(true);
    const before = memory().handles;
    const error = await follow(stage.train({ ...stage.inputs(), ...stage.settings, ...more, run }), () => {});
    expect(String(error)).toMatch(/not empty/);
    expect(memory().handles).toBe(before);
  });

  it.each(cases)("%s with %s, interrupted", async (_, __, stage, more) => {
    const before = memory().handles;
    const controller = new AbortController();
    const { signal } = controller;
    const error = await follow(
      stage.train({ ...stage.inputs(), ...stage.settings, ...more, signal }),
      (event) => {
        if (event.type === "step") controller.abort();
      },
    );
    expect(error).toBeInstanceOf(Interrupted);
    expect(memory().handles).toBe(before);
  });

  it.each(cases)("%s with %s, whose events are no longer iterated", async (_, __, stage, more) => {
    const before = memory().handles;
    await follow(
      stage.train({ ...stage.inputs(), ...stage.settings, ...more }),
      ({ type }) => type === "step",
    );
    expect(memory().handles).toBe(before);
  });
});
