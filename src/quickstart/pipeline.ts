import { join } from "node:path";
import { writeJsonl } from "../data/jsonl.ts";
import type { Comparison, Message } from "../data/records.ts";
import { type Evaluation, evaluate, goldDifference } from "../eval/evaluate.ts";
import { formatInterval, type Interval, mean, uniform } from "../math/index.ts";
import type { Model } from "../models/model.ts";
import { loadModel } from "../models/pull.ts";
import { openReward } from "../rewards/open.ts";
import { modelSampler } from "../rollout/generate.ts";
import { isFinished } from "../rollout/sampler.ts";
import type { Event, Metrics } from "../run/events.ts";
import type { Training } from "../run/training.ts";
import { ppo } from "../stages/ppo/train.ts";
import type { RewardReport } from "../stages/reward/evaluate.ts";
import { reward } from "../stages/reward/train.ts";
import { sft } from "../stages/sft/train.ts";
import { labelers, rank } from "./labelers.ts";
import { gold, type Instruction, loadDemonstrations, loadInstructions } from "./task.ts";

/** Size of the quickstart: the settings behind the numbers in the README. */
export interface Scale {
  /** Number of demonstrations for SFT. */
  demonstrations: number;
  sft: { epochs: number; learningRate: number; batchSize: number };
  /** Number of training instructions whose answers are ranked. */
  compared: number;
  reward: { epochs: number; learningRate: number; batchSize: number; headInit: "probe" };
  ppo: {
    steps: number;
    batchSize: number;
    samplesPerPrompt: number;
    miniBatchSize: number;
    ppoEpochs: number;
    critic: "shared";
    learningRate: number;
    criticLearningRate: number;
    initKlCoef: number;
    normaliseScores: "perPrompt";
  };
  /** Number of held-out instructions. */
  heldOut: number;
  /** Answers to each held-out instruction; half as many of the base model, which only the table shows. */
  samples: number;
}

const training = {
  sft: { epochs: 1, learningRate: 2e-4, batchSize: 8 },
  reward: { epochs: 1, learningRate: 1e-4, batchSize: 8, headInit: "probe" as const },
  ppo: {
    samplesPerPrompt: 4,
    miniBatchSize: 16,
    ppoEpochs: 1,
    critic: "shared" as const,
    learningRate: 5e-5,
    criticLearningRate: 1e-3,
    initKlCoef: 0.15,
    normaliseScores: "perPrompt" as const,
  },
};

export const scales: Record<"full" | "fast", Scale> = {
  full: {
    ...training,
    demonstrations: Infinity,
    compared: 600,
    ppo: { ...training.ppo, steps: 16, batchSize: 64 },
    heldOut: Infinity,
    samples: 2,
  },
  fast: {
    ...training,
    demonstrations: 96,
    compared: 40,
    ppo: { ...training.ppo, steps: 3, batchSize: 16 },
    heldOut: 24,
    samples: 1,
  },
};

/** Most tokens of an answer. */
const maxTokens = 48;
/** Temperature of PPO and of all measurements. */
const temperature = 0.7;
/** Temperatures of the answers to rank, one answer at each. */
const temperatures = [0.5, 0.7, 0.7, 1];
/** Answers decoded together outside of training. */
const batchSize = 384;
/** Keeps all stages under 6 GB. */
const microBatchTokens = 1024;

export interface QuickstartOptions {
  /** Folder for the runs, the comparisons and the report. */
  out: string;
  scale?: Scale;
  model?: string;
  seed?: number;
  signal?: AbortSignal | undefined;
  onStage?: (title: string) => void;
  /** Called during work without events: how much is done, of how much. */
  onProgress?: (done: number, total: number) => void;
  onEvent?: (event: Event) => void;
}

export type ModelName = "base" | "sft" | "ppo";

export interface QuickstartResult {
  seed: number;
  evaluations: Record<ModelName, Evaluation>;
  /** Gain in gold of PPO over SFT, paired by prompt. */
  gain: Interval;
  instructions: Instruction[];
  comparisons: number;
  /** Share of pairs that the labelers ordered as the gold score does. */
  labelerAccuracy: number;
  reward: RewardReport | undefined;
  /** Of each PPO step: mean gold and mean reward-model score of its samples, and the KL. */
  curve: { step: number; gold: number; proxy: number; kl: number }[];
  seconds: number;
  residentBytes: number;
}

const ignore = () => {};

/** Runs a training to its end. @returns its result */
async function runToEnd<R>(training: Training<R>, onEvent: (event: Event) => void): Promise<R> {
  for await (const event of training) onEvent(event);
  return training.done();
}

/** Runs SFT, a reward model on simulated rankings, and PPO; then measures all models with the gold checker. */
export async function quickstart(options: QuickstartOptions): Promise<QuickstartResult> {
  const { out, scale = scales.full, seed = 0, signal, model: name = "smollm2-135m-instruct" } = options;
  const { onStage = ignore, onEvent = ignore, onProgress = ignore } = options;
  const start = performance.now();
  const common = { seed, microBatchTokens, ...(signal ? { signal } : {}) };
  const follow = <R>(training: Training<R>) => runToEnd(training, onEvent);

  onStage("Loading SmolLM2-135M-Instruct");
  const untrained = await loadModel(name);
  const train = loadInstructions("train").slice(0, scale.compared);

  onStage("1 of 3  Supervised fine-tuning on demonstrations");
  const sftRun = await follow(
    sft({
      model: untrained,
      data: loadDemonstrations().slice(0, scale.demonstrations),
      ...scale.sft,
      ...common,
      run: join(out, "sft"),
    }),
  );
  untrained.dispose(); // 0.3 GB that PPO needs

  onStage(
    `Sampling ${temperatures.length} answers to each of ${train.length} instructions, ranked by simulated labelers`,
  );
  const { comparisons, accuracy } = await compare(sftRun.model, train, seed, onProgress, signal);
  writeJsonl(join(out, "comparisons.jsonl"), comparisons);

  onStage("2 of 3  Reward model on the rankings");
  const rewardRun = await follow(
    reward({
      model: sftRun.model,
      data: comparisons,
      ...scale.reward,
      normaliseSamples: 64,
      sampleTokens: maxTokens,
      ...common,
      run: join(out, "reward"),
    }),
  );

  onStage("3 of 3  PPO against the reward model");
  const ppoTraining = ppo({
    policy: sftRun.model,
    reward: rewardRun.model,
    prompts: train.map(({ id, prompt }) => ({ id, prompt: user(prompt) })),
    ...scale.ppo,
    maxTokens,
    temperature,
    logSamples: scale.ppo.batchSize,
    ...common,
    run: join(out, "ppo"),
  });
  const curve = await followCurve(ppoTraining, train, onEvent);
  const { model: policy } = await ppoTraining.done();

  const heldOut = loadInstructions("heldOut").slice(0, scale.heldOut);
  const models = { base: await loadModel(name), sft: sftRun.model, ppo: policy };
  const evaluations = await measure(models, rewardRun.model, heldOut, scale.samples, {
    seed,
    signal,
    onStage,
  });
  for (const model of [...Object.values(models), rewardRun.model]) model.dispose();
  return {
    seed,
    evaluations,
    gain: goldDifference(evaluations.ppo, evaluations.sft, heldOut.length),
    instructions: heldOut,
    comparisons: comparisons.length,
    labelerAccuracy: accuracy,
    reward: rewardRun.report,
    curve,
    seconds: (performance.now() - start) / 1000,
    residentBytes: process.resourceUsage().maxRSS * 1024,
  };
}

/** Forwards PPO's events. @returns mean gold, mean reward-model score and KL of each step's samples */
async function followCurve(
  events: AsyncIterable<Event>,
  instructions: readonly Instruction[],
  onEvent: (event: Event) => void,
): Promise<QuickstartResult["curve"]> {
  const curve: QuickstartResult["curve"] = [];
  const byId = new Map(instructions.map((instruction) => [instruction.id, instruction]));
  const golds: number[] = [];
  for await (const event of events) {
    if (event.type === "sample")
      golds.push(
        gold(byId.get(event.promptId ?? "") as Instruction, event.response, {
          finished: event.finished ?? true,
        }),
      );
    if (event.type === "step") {
      const { metrics, step } = event as { metrics: Metrics; step: number };
      curve.push({
        step,
        gold: mean(golds.splice(0)),
        proxy: metrics["objective/scores"] as number,
        kl: metrics["objective/kl"] as number,
      });
    }
    onEvent(event);
  }
  return curve;
}

/** Evaluates every model on the held-out instructions with the gold checker and the reward model. */
async function measure(
  models: Record<ModelName, Model>,
  rewardModel: Model,
  heldOut: readonly Instruction[],
  samples: number,
  {
    onStage,
    ...options
  }: { seed: number; signal: AbortSignal | undefined; onStage: (title: string) => void },
): Promise<Record<ModelName, Evaluation>> {
  const scorer = await openReward(rewardModel);
  const evaluations: Partial<Record<ModelName, Evaluation>> = {};
  for (const name of Object.keys(models) as ModelName[]) {
    onStage(`Measuring ${names[name]} on ${heldOut.length} held-out instructions`);
    evaluations[name] = await evaluate({
      model: models[name],
      reference: models.sft,
      scorer,
      prompts: heldOut.map(({ prompt }) => ({ prompt: user(prompt) })),
      gold: (sample) =>
        gold(heldOut[sample.promptIndex] as Instruction, sample.text, { finished: isFinished(sample) }),
      samples: name === "base" ? Math.ceil(samples / 2) : samples,
      maxTokens,
      temperature,
      batchSize,
      ...options,
    });
  }
  return evaluations as Record<ModelName, Evaluation>;
}

const user = (content: string): Message[] => [{ role: "user", content }];

/** Samples answers at several temperatures and lets a random labeler rank those of each prompt. @returns rankings, and the share of pairs ordered as the gold score does */
async function compare(
  model: Model,
  instructions: readonly Instruction[],
  seed: number,
  onProgress: (done: number, total: number) => void,
  signal?: AbortSignal,
): Promise<{ comparisons: Comparison[]; accuracy: number }> {
  const completions = await modelSampler(model).sample(
    instructions.map(({ prompt }) => user(prompt)),
    {
      temperature: temperatures,
      samples: temperatures.length,
      maxTokens,
      batchSize,
      seed,
      onProgress,
      signal,
    },
  );
  const sampled = completions.map((completion) => ({ ...completion, finished: isFinished(completion) }));
  const people = labelers(seed);
  const random = uniform(seed);
  let [right, pairs] = [0, 0];
  const comparisons = instructions.flatMap((instruction, i) => {
    const texts = new Set<string>();
    const answers = sampled.filter(
      ({ promptIndex, text }) =>
        promptIndex === i && text.trim() !== "" && !texts.has(text) && texts.add(text),
    );
    if (answers.length < 2) return [];
    const labeler = people[Math.floor(random() * people.length)] as (typeof people)[number];
    const ranks = rank(instruction, answers, labeler, random);
    const truth = answers.map((answer) => gold(instruction, answer.text, answer));
    for (const [a, rankA] of ranks.entries())
      for (const [b, rankB] of ranks.entries())
        if (rankA < rankB && truth[a] !== truth[b]) {
          pairs++;
          if ((truth[a] as number) > (truth[b] as number)) right++;
        }
    return [
      {
        prompt: user(instruction.prompt),
        completions: answers.map(({ text }) => text),
        ranks,
        labeler: labeler.name,
      },
    ];
  });
  return { comparisons, accuracy: right / pairs };
}

const names: Record<ModelName, string> = { base: "base", sft: "SFT", ppo: "PPO" };

/** Makes the result table, with a row for each model. */
export function resultTable({ evaluations }: Pick<QuickstartResult, "evaluations">): string[][] {
  return [
    ["model", "gold [95 %]", "reward model", "KL, nats", "tokens", "distinct-1", "distinct-2", "finished"],
    ...(Object.keys(names) as ModelName[]).map((name) => {
      const { gold: truth, proxy, kl, length, distinct1, distinct2, finished } = evaluations[name];
      return [
        names[name],
        formatInterval(truth),
        proxy.value.toFixed(2),
        kl.toFixed(2),
        length.toFixed(1),
        distinct1.toFixed(2),
        distinct2.toFixed(2),
        `${Math.round(100 * finished)} %`,
      ];
    }),
  ];
}

/** Describes how the measured answers were sampled. */
export const describeSampling = ({ evaluations: { base, ppo }, instructions }: QuickstartResult): string =>
  `${ppo.samples.length / instructions.length} answers to each (base ${base.samples.length / instructions.length}), temperature ${temperature}`;

/** Selects `count` held-out instructions, evenly spaced, with the first answer of each model. */
export function examples({ evaluations, instructions }: QuickstartResult, count: number) {
  const every = Math.max(1, Math.floor(instructions.length / count));
  return instructions
    .map((instruction, i) => ({
      prompt: instruction.prompt,
      answers: (Object.keys(names) as ModelName[]).map((name) => {
        const sample = evaluations[name].samples.find(({ promptIndex }) => promptIndex === i);
        return { name: names[name], text: sample?.text ?? "", gold: sample?.gold ?? Number.NaN };
      }),
    }))
    .filter((_, i) => i % every === 0)
    .slice(0, count);
}
