// Over-optimisation as Gao et al. (2023) measured it, small: gold is the quickstart's checker, proxies are reward models from
// comparisons that the checker ordered, a quarter of them turned round (as Coste et al. 2023 did). Best of n to n = 128 from
// one sampling run; GRPO without a KL penalty until gold has turned, with two penalties, and against ensembles.
// `npm run bench:overoptimisation -- [--run runs/quickstart] [--seed 0] [--out runs/overoptimisation]`

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { formatTable } from "../../src/cli/terminal.ts";
import { readJsonl, writeJsonl } from "../../src/data/jsonl.ts";
import type { Comparison, Prompt } from "../../src/data/records.ts";
import { shuffled } from "../../src/data/split.ts";
import { bestOfN, bestOfNKlBound } from "../../src/eval/best-of-n.ts";
import { type CurvePoint, fitCurve, type Optimisation } from "../../src/eval/overoptimisation.ts";
import { loadModel } from "../../src/models/pull.ts";
import { gold, type Instruction, loadInstructions } from "../../src/quickstart/task.ts";
import { openReward, type RewardInput } from "../../src/rewards/open.ts";
import { modelSampler } from "../../src/rollout/generate.ts";
import { isFinished } from "../../src/rollout/sampler.ts";
import { grpo } from "../../src/stages/grpo/train.ts";
import { reward } from "../../src/stages/reward/train.ts";
import { formatInterval } from "../../src/statistics/bootstrap.ts";
import { mean } from "../../src/statistics/numbers.ts";
import { uniform } from "../../src/statistics/random.ts";

const { values } = parseArgs({
  options: {
    run: { type: "string", default: "runs/quickstart" },
    out: { type: "string", default: "runs/overoptimisation" },
    seed: { type: "string", default: "0" },
    steps: { type: "string", default: "32" },
  },
});
const seed = Number(values.seed);
const out = join(values.out, `seed-${seed}`);
const sft = join(values.run, "sft");
const sampling = { maxTokens: 48, temperature: 0.7 };
/** Comparisons of each proxy; the middle one is optimised in other ways too. */
const sizes = [600, 200, 2000];
const members = 4;

const promptOf = (instruction: Instruction): Prompt => ({
  id: instruction.id,
  prompt: [{ role: "user", content: instruction.prompt }],
  metadata: { instruction },
});
const log = (message: string) =>
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${message}\n`);

/** Makes comparisons of the SFT model's answers, ordered by gold, a quarter of them turned round. */
async function compare(count: number): Promise<Comparison[]> {
  const file = join(out, "comparisons.jsonl");
  if (existsSync(file)) return readJsonl(file).map(({ value }) => value as Comparison);
  const instructions = loadInstructions("train");
  const model = await loadModel(sft);
  const perPrompt = 6;
  const completions = await modelSampler(model).sample(
    instructions.map((instruction) => promptOf(instruction).prompt),
    { ...sampling, temperature: 1, samples: perPrompt, batchSize: 384, seed },
  );
  model.dispose();
  const random = uniform(seed);
  const pairs = instructions.flatMap((instruction, i) => {
    const answers = completions
      .filter(({ promptIndex }) => promptIndex === i)
      .map((answer) => ({
        text: answer.text,
        gold: gold(instruction, answer.text, { finished: isFinished(answer) }),
      }));
    return answers.flatMap((a, j) =>
      answers
        .slice(j + 1)
        .flatMap((b) => (a.gold === b.gold || a.text === b.text ? [] : [{ instruction, a, b }])),
    );
  });
  const chosen = shuffled(pairs.length, seed)
    .slice(0, count)
    .map((i) => pairs[i] as (typeof pairs)[number]);
  const comparisons = chosen.map(({ instruction, a, b }) => {
    const [better, worse] = a.gold > b.gold ? [a.text, b.text] : [b.text, a.text];
    const flipped = random() < 0.25;
    return {
      prompt: promptOf(instruction).prompt,
      completions: flipped ? [worse, better] : [better, worse],
      ranks: [1, 2],
    };
  });
  writeJsonl(file, comparisons);
  return comparisons;
}

/** Trains a reward model, or an ensemble, on the first `count` comparisons. @returns its run */
async function train(name: string, data: Comparison[], settings: { members?: number } = {}): Promise<string> {
  const run = join(out, name);
  if (isDone(run)) return run;
  log(`reward model: ${name}`);
  const trained = await reward({
    ...{ model: sft, data, run, resume: existsSync(run), seed, ...settings },
    ...{ epochs: 1, learningRate: 1e-4, batchSize: 8, headInit: "probe", microBatchTokens: 1024 },
    ...{ normaliseSamples: 128, sampleTokens: sampling.maxTokens },
  }).done();
  trained.model.dispose();
  return run;
}

const eventsOf = (run: string) =>
  readFileSync(join(run, "events.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
const isDone = (run: string): boolean =>
  existsSync(join(run, "events.jsonl")) && eventsOf(run).some(({ type }) => type === "done");

/** A measurement on the way of a policy. */
interface Point extends CurvePoint {
  step: number;
  proxy: number;
}

interface Curve {
  name: string;
  optimisation: Optimisation;
  points: Point[];
  /** Step of the first alarm about gold. */
  alarm?: number | undefined;
}

/** Gold and proxy of the best of n by each reward, from one sampling run. */
async function bestOf(
  rewards: Record<string, RewardInput>,
  prompts: number,
  total: number,
): Promise<Curve[]> {
  const file = join(out, "best-of-n.json");
  if (existsSync(file)) return JSON.parse(readFileSync(file, "utf8"));
  log(`best of n: ${prompts} prompts, ${total} answers each`);
  const instructions = loadInstructions("heldOut").slice(0, prompts);
  const model = await loadModel(sft);
  const completions = await modelSampler(model).sample(
    instructions.map((instruction) => promptOf(instruction).prompt),
    { ...sampling, samples: total, batchSize: 384, seed },
  );
  model.dispose();
  const answers = completions.map((answer) => {
    const instruction = instructions[answer.promptIndex] as Instruction;
    return { ...promptOf(instruction), ...answer, gold: gold(instruction, answer.text, { finished: true }) };
  });
  const curves: Curve[] = [];
  for (const [name, input] of Object.entries(rewards)) {
    const scorer = await openReward(input);
    const scores = (await scorer.score(answers)).map(({ score }) => score);
    scorer.dispose();
    const byPrompt = instructions.map((_, i) =>
      answers.flatMap((answer, a) =>
        answer.promptIndex === i ? [{ proxy: scores[a] as number, gold: answer.gold }] : [],
      ),
    );
    const at = (n: number): Point => ({
      step: n,
      kl: bestOfNKlBound(n),
      gold: mean(byPrompt.map((samples) => bestOfN(samples, n))),
      proxy: mean(
        byPrompt.map((samples) =>
          bestOfN(
            samples.map(({ proxy }) => ({ proxy, gold: proxy })),
            n,
          ),
        ),
      ),
    });
    const counts = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128].filter((n) => n <= total);
    curves.push({ name, optimisation: "best-of-n", points: counts.map(at) });
  }
  writeFileSync(file, JSON.stringify(curves));
  return curves;
}

/** Trains a policy against a reward, with gold checked every fourth step. */
async function optimise(name: string, judge: RewardInput, klCoef: number): Promise<Curve> {
  const run = join(out, name);
  const heldOut = join(out, "held-out.jsonl");
  if (!isDone(run)) {
    log(`grpo: ${name}`);
    const trained = await grpo({
      ...{ policy: sft, reward: judge, prompts: loadInstructions("train").map(promptOf) },
      ...{ run, resume: existsSync(run), seed, steps: Number(values.steps), klCoef, ...sampling },
      ...{ batchSize: 64, samplesPerPrompt: 4, miniBatchSize: 16, learningRate: 1e-4, schedule: "constant" },
      ...{ microBatchTokens: 1024, saveEvery: 8, rolloutBatchSize: 64 },
      monitor: {
        gold: fileURLToPath(new URL("gold.ts", import.meta.url)),
        ...{ every: 4, prompts: heldOut, promptCount: 100, samples: 2 },
      },
    }).done();
    trained.model.dispose();
  }
  const events = eventsOf(run);
  const stops = ["over-optimisation", "gold-fell"];
  const alarm = events.findIndex(({ type, code }) => type === "warning" && stops.includes(code));
  return {
    name,
    optimisation: "rl",
    points: events
      .filter(({ type }) => type === "eval")
      .map(({ step, metrics }) => ({
        step,
        kl: metrics["monitor/kl"],
        gold: metrics["monitor/gold"],
        proxy: metrics["monitor/proxy"],
      })),
    alarm: alarm < 0 ? undefined : events.slice(0, alarm).findLast(({ type }) => type === "eval").step,
  };
}

/** A line of the table: where gold is highest, where it ends, and what the fit says. */
function row({ name, optimisation, points, alarm }: Curve): string[] {
  const [first, last] = [points[0] as Point, points.at(-1) as Point];
  const best = points.reduce((a, b) => (b.gold > a.gold ? b : a));
  const fit = fitCurve(
    points.map(({ kl, gold }) => ({ kl, gold: gold - first.gold })),
    optimisation,
  );
  const show = (value: number) => value.toFixed(3);
  return [
    name,
    show(first.gold),
    `${show(best.gold)} (KL ${best.kl.toFixed(1)})`,
    `${show(last.gold)} (KL ${last.kl.toFixed(1)})`,
    `${show(first.proxy)} → ${show(last.proxy)}`,
    fit ? `${formatInterval(fit.alpha)} ${formatInterval(fit.beta)}` : "",
    fit ? fit.rSquared.toFixed(2) : "",
    fit ? formatInterval(fit.peakKl) : "",
    alarm === undefined ? "" : `step ${alarm}, ${show(points.find(({ step }) => step === alarm)?.gold ?? 0)}`,
  ];
}

mkdirSync(out, { recursive: true });
mkdirSync(dirname(out), { recursive: true });
writeJsonl(
  join(out, "held-out.jsonl"),
  loadInstructions("heldOut").map((instruction) => ({
    id: instruction.id,
    prompt: promptOf(instruction).prompt,
    instruction,
  })),
);
const comparisons = await compare(Math.max(...sizes));
const curves: Curve[] = [];
const proxies: Record<string, RewardInput> = {};
for (const size of sizes) {
  const run = await train(`reward-${size}`, comparisons.slice(0, size));
  proxies[`n ${size}`] = run;
  curves.push(await optimise(`grpo-${size}`, run, 0));
}
for (const klCoef of [0.05, 0.15])
  curves.push(await optimise(`grpo-600-kl-${klCoef}`, proxies["n 600"] as RewardInput, klCoef));
const model = await train("ensemble-600", comparisons.slice(0, 600), { members });
for (const combine of ["mean", "worst", "penalised"] as const)
  curves.push(await optimise(`grpo-600-${combine}`, { model, combine, penalty: 0.1 }, 0));
for (const combine of ["mean", "worst", "penalised"] as const)
  proxies[`n 600, ${combine}`] = { model, combine, penalty: 0.5 };
curves.push(...(await bestOf(proxies, 100, 128)));
writeFileSync(join(out, "curves.json"), JSON.stringify(curves, null, 1));
const header = [
  "run",
  "gold before",
  "best",
  "last",
  "proxy",
  "α β [95 %]",
  "R²",
  "KL at the fit's peak",
  "alarm",
];
process.stdout.write(`${formatTable([header, ...curves.map(row)])}\n`);
