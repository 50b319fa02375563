import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { takeLock } from "../src/run/lock.ts";
import { noGrad, scope } from "../src/tensor/index.ts";
import { plumbline, set } from "./cli.ts";
import { tinyModel } from "./tiny.ts";

let dir: string;
const at = (name: string) => join(dir, name);
const rows = (...values: unknown[]) => `${values.map((value) => JSON.stringify(value)).join("\n")}\n`;
const demonstrations = Array.from({ length: 12 }, (_, i) => ({
  prompt: `say ${i}`,
  completion: `it is ${i}`,
}));
const comparisons = demonstrations.map(({ prompt, completion }) => ({
  prompt,
  chosen: completion,
  rejected: "no",
}));

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "wrong-"));
  const model = tinyModel();
  model.save(at("tiny"));
  model.withScoreHead({ std: 0.1 }).save(at("judge"));
  noGrad(() => scope(() => model.parameters.get("model.norm.weight")?.fill_(Number.NaN)));
  model.save(at("nan"));
  writeFileSync(at("demonstrations.jsonl"), rows(...demonstrations));
  writeFileSync(at("comparisons.jsonl"), rows(...comparisons));
  writeFileSync(at("prompts.jsonl"), rows(...demonstrations.map(({ prompt }) => ({ prompt }))));
  writeFileSync(at("broken.jsonl"), `${rows(demonstrations[0], demonstrations[1])}{"prompt": "x", "compl\n`);
  writeFileSync(at("empty.jsonl"), "");
  writeFileSync(at("wrong-type.jsonl"), rows(demonstrations[0], { prompt: 7, completion: "seven" }));
  writeFileSync(at("strange.jsonl"), rows({ colour: "red" }));
  writeFileSync(at("binary.jsonl"), Buffer.from([0xff, 0xfe, 0, 1, 2, 0x80]));
  writeFileSync(at("long.jsonl"), rows({ prompt: "long ".repeat(200) }));
  writeFileSync(at("long-demonstrations.jsonl"), rows({ prompt: "long ".repeat(300), completion: "x" }));
  writeFileSync(at("bad.yaml"), "epochs: [1\n");
  writeFileSync(at("unknown.yaml"), "model: tiny\ndata: demonstrations.jsonl\nlearningrate: 1\n");
  writeFileSync(at("misspelt.yaml"), "model: tiny\ndat: demonstrations.jsonl\n");
  mkdirSync(at("folder"));
  mkdirSync(at("damaged"));
  writeFileSync(at("damaged/config.json"), "{");
  mkdirSync(at("other"));
  writeFileSync(at("other/config.json"), JSON.stringify({ model_type: "bert" }));
  mkdirSync(at("cut"));
  for (const name of readdirSync(at("tiny")))
    writeFileSync(at(`cut/${name}`), readFileSync(at(`tiny/${name}`)));
  const weights = readFileSync(at("tiny/model.safetensors"));
  writeFileSync(at("cut/model.safetensors"), weights.subarray(0, weights.length - 100));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const sft = ["sft", "--model", "tiny", "--data", "demonstrations.jsonl"];
const ppo = [
  "ppo",
  "--policy",
  "tiny",
  "--allow-no-sft",
  "--reward",
  "judge",
  "--prompts",
  "prompts.jsonl",
  ...set({ steps: 1, batchSize: 4, maxTokens: 8 }),
];

/** Wrong inputs: name, arguments, and a pattern of the error message. */
const cases: [string, string[], RegExp][] = [
  [
    "a missing file",
    ["sft", "--model", "tiny", "--data", "nope.jsonl"],
    /nope\.jsonl.*(no such file|not exist)/i,
  ],
  ["a missing option", ["sft", "--model", "tiny"], /--data is missing/],
  ["bad JSON", ["sft", "--model", "tiny", "--data", "broken.jsonl"], /broken\.jsonl.*3/],
  [
    "an empty file",
    ["sft", "--model", "tiny", "--data", "empty.jsonl"],
    /empty\.jsonl.*(empty|no rows|no record)/i,
  ],
  [
    "a field of the wrong type",
    ["sft", "--model", "tiny", "--data", "wrong-type.jsonl"],
    /wrong-type\.jsonl.*2.*prompt/s,
  ],
  [
    "data of no known format",
    ["sft", "--model", "tiny", "--data", "strange.jsonl"],
    /strange\.jsonl.*colour/s,
  ],
  ["bytes that are no text", ["sft", "--model", "tiny", "--data", "binary.jsonl"], /binary\.jsonl/],
  [
    "data of another kind",
    ["reward", "--model", "tiny", "--data", "demonstrations.jsonl"],
    /holds no comparisons/,
  ],
  ["a folder as data", ["sft", "--model", "tiny", "--data", "folder"], /folder/],
  ["an unknown setting", [...sft, "--set", "lerningRate=1"], /lerningRate.*learningRate/s],
  ["a setting of the wrong type", [...sft, "--set", "epochs=many"], /epochs/],
  ["a setting out of its range", [...sft, "--set", "heldOut=1.5"], /heldOut/],
  ["a setting without a value", [...sft, "--set", "epochs"], /epochs/],
  ["an unknown key in a recipe", ["sft", "unknown.yaml"], /unknown\.yaml.*learningrate.*learningRate/s],
  // The misspelt key is why the option is missing.
  [
    "an unknown key before a missing option",
    ["sft", "misspelt.yaml"],
    /unknown key "dat" \(did you mean "data"/,
  ],
  ["a recipe that is no YAML", ["sft", "bad.yaml"], /bad\.yaml/],
  ["a missing recipe", ["sft", "none.yaml"], /none\.yaml/],
  ["an unknown option", [...sft, "--modle", "x"], /--modle.*--model/s],
  ["an unknown command", ["stf"], /stf.*sft/s],
  [
    "a prompt longer than the context",
    ["generate", "--model", "tiny", "--data", "long.jsonl"],
    /context is 256/,
  ],
  [
    "prompts that are all too long",
    ["ppo", "--policy", "tiny", "--allow-no-sft", "--reward", "judge", "--prompts", "long.jsonl"],
    /longer than/,
  ],
  [
    "demonstrations that are all too long",
    ["sft", "--model", "tiny", "--data", "long-demonstrations.jsonl"],
    /longer than 256/,
  ],
  [
    "a model that is not there",
    ["sft", "--model", "nowhere", "--data", "demonstrations.jsonl"],
    /nowhere: no such model/,
  ],
  [
    "a folder that is no model",
    ["sft", "--model", "folder", "--data", "demonstrations.jsonl"],
    /folder: not a model/,
  ],
  [
    "a file that is no model",
    ["sft", "--model", "empty.jsonl", "--data", "demonstrations.jsonl"],
    /empty\.jsonl/,
  ],
  [
    "a damaged config.json",
    ["sft", "--model", "damaged", "--data", "demonstrations.jsonl"],
    /config\.json: not JSON/,
  ],
  ["an architecture we do not run", ["sft", "--model", "other", "--data", "demonstrations.jsonl"], /bert/],
  ["weights cut short", ["sft", "--model", "cut", "--data", "demonstrations.jsonl"], /model\.safetensors/],
  [
    "a language model as a reward model",
    ["ppo", "--policy", "tiny", "--allow-no-sft", "--reward", "tiny", "--prompts", "prompts.jsonl"],
    /no scalar head/,
  ],
  ["a reward model to talk with", ["generate", "--model", "judge", "--prompt", "x"], /scalar head/],
  [
    "a policy that never had SFT",
    ["ppo", "--policy", "tiny", "--reward", "judge", "--prompts", "prompts.jsonl"],
    /supervised fine-tuning/,
  ],
  [
    "NaN in the weights, at sft",
    ["sft", "--model", "nan", "--data", "demonstrations.jsonl"],
    /loss is not finite/,
  ],
  [
    "NaN in the weights, at reward",
    ["reward", "--model", "nan", "--data", "comparisons.jsonl"],
    /not finite/,
  ],
  [
    "NaN in the weights, at dpo",
    ["dpo", "--model", "nan", "--data", "comparisons.jsonl"],
    /loss is not finite/,
  ],
  [
    "demonstrations for dpo",
    ["dpo", "--model", "tiny", "--data", "demonstrations.jsonl"],
    /holds no comparisons/,
  ],
  [
    "demonstrations for kto",
    ["dpo", "--model", "tiny", "--data", "demonstrations.jsonl", "--set", "loss=kto"],
    /holds no thumbs up and down/,
  ],
  ["NaN in the weights, at ppo", ppo.map((word) => (word === "tiny" ? "nan" : word)), /not finite|NaN/],
  ["nothing to resume", [...sft, "--run", "fresh", "--resume"], /no run to resume/],
  ["a report of what is no run", ["report", "folder"], /not a run/],
  [
    "a number that is none",
    ["generate", "--model", "tiny", "--prompt", "x", "--temperature", "warm"],
    /"warm" should be a number/,
  ],
];

describe("wrong input gets one clear message and a failing exit code", () => {
  it.concurrent.each(cases)(
    "%s",
    async (name, args, message) => {
      const run = `runs/${name.replaceAll(/\W+/g, "-")}`;
      const trains = ["sft", "reward", "dpo", "ppo"].includes(args[0] as string) && !args.includes("--run");
      const { code, stdout, stderr } = await plumbline([...args, ...(trains ? ["--run", run] : [])], {
        cwd: dir,
      });
      expect(stderr).toMatch(message);
      expect(code).toBe(1);
      // One message: no stack trace, no second error, no output.
      expect(stderr).not.toMatch(/^\s+at /m);
      expect(stderr.match(/error:/g)).toHaveLength(1);
      expect(stdout).toBe("");
      if (existsSync(at(`${run}/checkpoints`))) expect(readdirSync(at(`${run}/checkpoints`))).toEqual([]);
    },
    60_000,
  );

  it("a learning rate at which training diverges keeps earlier checkpoints", async () => {
    const { code, stderr } = await plumbline(
      [
        ...sft,
        "--run",
        "blown",
        "--set",
        "learningRate=1e30",
        "--set",
        "maxGradNorm=1e30",
        "--set",
        "epochs=9",
      ],
      { cwd: dir },
    );
    expect(stderr).toMatch(/the loss is not finite at step \d+.*lower learningRate/);
    expect(code).toBe(1);
    expect(readdirSync(at("blown/checkpoints"))).toContain("step-1");
  }, 60_000);

  it("a run directory in use, and one of another config", async () => {
    const run = ["--run", "used", "--set", "epochs=1"];
    await plumbline([...sft, ...run], { cwd: dir });
    const again = await plumbline([...sft, ...run], { cwd: dir });
    expect(again.code).toBe(1);
    expect(again.stderr).toMatch(/used: the directory is not empty; use --resume/);
    const other = await plumbline([...sft, "--run", "used", "--set", "epochs=2", "--resume"], { cwd: dir });
    expect(other.code).toBe(1);
    expect(other.stderr).toMatch(/differs.*epochs/);
    takeLock(at("used/lock"));
    const locked = await plumbline([...sft, ...run, "--resume"], { cwd: dir });
    expect(locked.code).toBe(1);
    expect(locked.stderr).toMatch(new RegExp(`process ${process.pid} is writing this run`));
  }, 60_000);

  const small = ["unshare", "-rm", "sh", "-c", `mount -t tmpfs -o size=60k tmpfs "$0" && exec "$@"`];
  const canMount = spawnSync("unshare", ["-rm", "true"]).status === 0;
  if (!canMount) console.log("skipped: a full disk (this system lets no user mount a small one)");
  it.skipIf(!canMount)(
    "a full disk: nothing half written",
    async () => {
      mkdirSync(at("disk"));
      const { code, stderr } = await plumbline([...sft, "--run", "disk/run", "--set", "epochs=1"], {
        cwd: dir,
        wrap: [...small, at("disk")],
      });
      expect(stderr).toMatch(/disk.*full|no space/i);
      expect(stderr).not.toMatch(/^\s+at /m);
      expect(code).toBe(1);
    },
    60_000,
  );
});
