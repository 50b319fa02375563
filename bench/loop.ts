// npm run bench:loop: does labelling in rounds help? On the quickstart's task, from its SFT model: one round with all
// labels, beside two rounds with half of them each, on as many PPO steps in all. Loops that were ended go on.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { formatTable, Progress } from "../src/cli/terminal.ts";
import { parseLoop } from "../src/loop/config.ts";
import { readJson, writeJson } from "../src/loop/files.ts";
import { type LoopReport, runLoop } from "../src/loop/loop.ts";
import { type Measurement, openMeasurement } from "../src/quickstart/measure.ts";
import { loadInstructions } from "../src/quickstart/task.ts";
import { bootstrap, formatInterval } from "../src/statistics/bootstrap.ts";
import { mean } from "../src/statistics/numbers.ts";
import { here } from "./process.ts";

const { values } = parseArgs({
  options: {
    from: { type: "string", default: "runs/quickstart" },
    out: { type: "string", default: "runs/bench-loop" },
    seeds: { type: "string", default: "3" },
    labels: { type: "string", default: "600" },
    steps: { type: "string", default: "16" },
  },
});
const out = resolve(values.out);
const [labels, steps, seeds] = [Number(values.labels), Number(values.steps), Number(values.seeds)];

/** Writes the prompts, and the checker as a reward. */
function writeInputs(): void {
  mkdirSync(out, { recursive: true });
  for (const split of ["train", "heldOut"] as const)
    writeFileSync(
      join(out, `${split}.jsonl`),
      loadInstructions(split)
        .map((instruction) => `${JSON.stringify(instruction)}\n`)
        .join(""),
    );
  writeFileSync(
    join(out, "gold.mjs"),
    `import { gold } from ${JSON.stringify(here("../dist/quickstart/task.js"))};
export default (prompt, text, instruction) =>
  gold({ ...instruction, prompt: prompt.at(-1).content }, text, { finished: true });
`,
  );
}

/** The quickstart's settings, in rounds. Its labelers' noise is 0.05 to 0.2, and their ties are within 0.15. */
const recipe = (rounds: number, seed: number) => ({
  policy: join(values.from, "sft"),
  prompts: join(out, "train.jsonl"),
  rounds,
  stop: "never",
  seed,
  sampling: {
    promptsPerRound: Math.round(labels / rounds),
    samplesPerPrompt: 4,
    temperature: 0.7,
    maxTokens: 48,
    rolloutBatchSize: 384,
  },
  labelers: { simulated: { reward: join(out, "gold.mjs"), noise: 0.125, tieMargin: 0.15 } },
  reward: {
    learningRate: 1e-4,
    batchSize: 8,
    headInit: "probe",
    normaliseSamples: 64,
    sampleTokens: 48,
    microBatchTokens: 1024,
  },
  ppo: {
    steps: Math.round(steps / rounds),
    batchSize: 64,
    samplesPerPrompt: 4,
    miniBatchSize: 16,
    ppoEpochs: 1,
    critic: "shared",
    learningRate: 5e-5,
    criticLearningRate: 1e-3,
    initKlCoef: 0.15,
    normaliseScores: "perPrompt",
  },
  evaluation: { prompts: join(out, "heldOut.jsonl"), samples: 2 },
});

interface Trial extends Measurement {
  rounds: number;
  seed: number;
  report: LoopReport;
}

writeInputs();
const progress = new Progress(false);
const measure = await openMeasurement(values.from);
const trials: Trial[] = [];
for (let seed = 0; seed < seeds; seed++)
  for (const rounds of [1, 2]) {
    const run = join(out, `rounds-${rounds}-seed-${seed}`);
    const path = `${run}.json`;
    if (!existsSync(path)) {
      const report = await runLoop(parseLoop(recipe(rounds, seed)), {
        run,
        onPhase: (what) => progress.line(`${rounds} rounds, seed ${seed}, ${what}`),
      });
      writeJson(path, { rounds, seed, report, ...(await measure(report.policy)) });
    }
    trials.push(readJson<Trial>(path));
  }

/** Mean over seeds of a value of each held-out instruction, with its interval over instructions. */
const overInstructions = (some: readonly Trial[], value: (trial: Trial, i: number) => number) =>
  bootstrap(
    (some[0] as Trial).golds.map((_, i) => mean(some.map((trial) => value(trial, i)))),
    mean,
  );
const gain = ({ golds, before }: Trial, i: number) => (golds[i] as number) - (before[i] as number);
const of = (rounds: number) => trials.filter((trial) => trial.rounds === rounds);
console.log(
  formatTable([
    ["rounds", "gold [95 %]", "over SFT [95 %]", "each seed", "KL, nats", "tokens"],
    ...[1, 2].map((rounds) => [
      String(rounds),
      formatInterval(overInstructions(of(rounds), ({ golds }, i) => golds[i] as number)),
      formatInterval(overInstructions(of(rounds), gain)),
      of(rounds)
        .map((trial) => mean(trial.golds.map((_, i) => gain(trial, i))).toFixed(3))
        .join(" "),
      mean(of(rounds).map(({ kl }) => kl)).toFixed(2),
      mean(of(rounds).map(({ length }) => length)).toFixed(1),
    ]),
  ]),
);
const [one, two] = [of(1), of(2)];
const difference = bootstrap(
  (one[0] as Trial).golds.map((_, i) =>
    mean(two.map((trial, seed) => gain(trial, i) - gain(one[seed] as Trial, i))),
  ),
  mean,
);
console.log(`two rounds − one: ${formatInterval(difference)}, over instructions, mean of ${seeds} seeds`);
for (const { seed, report } of two)
  console.log(
    `seed ${seed}: the first reward model predicts the second round's labels: ${formatInterval(report.rounds[1]?.prediction ?? { value: Number.NaN, low: Number.NaN, high: Number.NaN })}; held-out accuracy of round 1: ${report.rounds[0]?.rewardAccuracy ? formatInterval(report.rounds[0].rewardAccuracy) : "none"}, of round 2: ${report.rounds[1]?.rewardAccuracy ? formatInterval(report.rounds[1].rewardAccuracy) : "none"}`,
  );
