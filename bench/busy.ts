// npm run bench:busy: a PPO step on a machine with other work. OpenMP's threads spin at each barrier for a while before
// they sleep; how long decides what a step costs beside a process that keeps a core busy. Runs each setting in turn, in
// a process of its own, idle and beside busy loops.
import { type ChildProcess, spawn } from "node:child_process";
import { parseArgs } from "node:util";
import { formatNumber, formatTable } from "../src/cli/terminal.ts";
import { loadModel } from "../src/models/pull.ts";
import { loadInstructions } from "../src/quickstart/task.ts";
import { PpoTrainer } from "../src/stages/ppo/trainer.ts";
import { bootstrap } from "../src/statistics/bootstrap.ts";
import { median } from "../src/statistics/numbers.ts";
import { here, measure } from "./process.ts";

const { values } = parseArgs({
  options: {
    step: { type: "boolean", default: false },
    rounds: { type: "string", default: "10" },
    loops: { type: "string", default: "0,1,2" },
    settings: { type: "string", default: "before,now" },
  },
});

/** Environment variables of each setting. libgomp's default is 300,000 turns of a spin loop; the engine sets fewer. */
const environments: Record<string, Record<string, string>> = {
  before: { GOMP_SPINCOUNT: "300000" },
  now: {}, // what the engine sets
  passive: { OMP_WAIT_POLICY: "passive" },
  "1000": { GOMP_SPINCOUNT: "1000" },
  "3000": { GOMP_SPINCOUNT: "3000" },
  "10000": { GOMP_SPINCOUNT: "10000" },
  "30000": { GOMP_SPINCOUNT: "30000" },
};

/** Measures the seconds of a step of 8 × 32 tokens, after a warm-up step. */
async function step(): Promise<number> {
  const policy = await loadModel("smollm2-135m-instruct");
  const trainer = new PpoTrainer({
    policy,
    critic: "shared",
    maxTokens: 32,
    minTokens: 32,
    miniBatchSize: 4,
  });
  const prompts = loadInstructions("train")
    .slice(0, 8)
    .map(({ prompt }) => [{ role: "user" as const, content: prompt }]);
  const once = async () => {
    const completions = await trainer.sample(prompts);
    await trainer.step(completions.map((completion) => ({ ...completion, score: completion.text.length })));
  };
  await once();
  const began = performance.now();
  await once();
  return (performance.now() - began) / 1000;
}

if (values.step) {
  console.log(JSON.stringify({ seconds: await step() }));
  process.exit(0);
}

const names = values.settings.split(",");
const rows: string[][] = [];
let idle: Record<string, number> = {};
for (const loops of values.loops.split(",").map(Number)) {
  const seconds: Record<string, number[]> = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < Number(values.rounds); round++)
    for (const name of round % 2 ? names.toReversed() : names) {
      const busy: ChildProcess[] = Array.from({ length: loops }, () =>
        spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" }),
      );
      try {
        const child = [here("../node_modules/tsx/dist/cli.mjs"), here("busy.ts"), "--step"];
        const env = Object.entries(environments[name] ?? {}).map(([key, value]) => `${key}=${value}`);
        const measured = measure<{ seconds: number }>("env", [...env, process.execPath, ...child]);
        seconds[name]?.push(measured.seconds);
        console.error(`${loops} busy loops, ${name}: ${formatNumber(measured.seconds)} s`);
      } finally {
        for (const loop of busy) loop.kill("SIGKILL");
      }
    }
  const medians = Object.fromEntries(names.map((name) => [name, median(seconds[name] as number[])]));
  if (!loops) idle = medians;
  const [first = ""] = names;
  for (const name of names) {
    const ratios = (seconds[name] as number[]).map((s, i) => s / (seconds[first]?.[i] as number));
    const { low, high } = bootstrap(ratios, median);
    rows.push([
      String(loops),
      name,
      formatNumber(medians[name] as number),
      idle[name] ? formatNumber((medians[name] as number) / (idle[name] as number)) : "–",
      `${median(ratios).toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`,
    ]);
  }
}
console.log(
  formatTable([
    ["busy loops", "setting", "s/step, median", "of its idle", `of "${names[0]}" in turn [95 %]`],
    ...rows,
  ]),
);
