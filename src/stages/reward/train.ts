import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { batchGroups, type Group, groupByPrompt, pairsOf } from "../../batch/groups.ts";
import { rowScores, scoreAll } from "../../batch/score.ts";
import { InputError } from "../../data/errors.ts";
import { readComparisons } from "../../data/readers.ts";
import type { Comparison, Message } from "../../data/records.ts";
import { batchAt, shuffled, splitByPrompt } from "../../data/split.ts";
import { deviation, mean, mergeMoments, noMoments } from "../../math/index.ts";
import type { Model } from "../../models/model.ts";
import { loadModel } from "../../models/pull.ts";
import { accumulate } from "../../nn/accumulate.ts";
import { AdamW } from "../../nn/adamw.ts";
import { generate } from "../../rollout/generate.ts";
import { parseConfig } from "../../run/config.ts";
import type { Event, Metrics } from "../../run/events.ts";
import { inWords, Journal, readState } from "../../run/journal.ts";
import { type Training, training } from "../../run/training.ts";
import { fewComparisons } from "../../run/warnings.ts";
import { type DType, trim } from "../../tensor/index.ts";
import { encodeExample, encodePrompt } from "../../text/chat.ts";
import { loadOptimizer, openLearner, quantisedBase, saveTraining } from "../checkpoint.ts";
import { supervisedStep } from "../supervised.ts";
import { type RewardConfig, type RewardSettings, rewardConfig } from "./config.ts";
import { evaluate, type RewardReport } from "./evaluate.ts";
import { rankingLoss } from "./loss.ts";
import { probeHead } from "./probe.ts";

export interface RewardOptions extends RewardSettings {
  /** The SFT model, or a name or path for `loadModel`: backbone of the reward model and source of the reference samples. */
  model: Model | string;
  /** Rankings, or a JSONL file of them. */
  data: string | readonly Comparison[];
  dtype?: DType;
  run?: string | undefined;
  resume?: boolean;
  signal?: AbortSignal;
}

export interface RewardResult {
  /** The reward model: a new one with a scalar head, yours to dispose of. */
  model: Model;
  metrics: Metrics;
  /** On the held-out prompts; undefined when none were. */
  report: RewardReport | undefined;
}

interface State {
  step: number;
  metrics: Metrics;
  report: RewardReport | undefined;
}

/**
 * Trains a reward model on rankings (Ouyang et al. 2022, §3.5): all pairs of a prompt in one step, with one forward per
 * completion. Afterwards scores are shifted and scaled to mean 0 and deviation 1 over samples of the model it began from.
 * @throws InputError for bad data or settings, or when the loss is not finite
 */
export const reward = (options: RewardOptions): Training<RewardResult> => training(train(options));

async function* train({
  model: from,
  data,
  dtype,
  run,
  resume,
  signal,
  ...settings
}: RewardOptions): AsyncGenerator<Event, RewardResult> {
  const config = parseConfig(rewardConfig, settings, "reward");
  const records = typeof data === "string" ? (await readComparisons(data)).records : [...data];
  if (!records.length) throw new InputError("reward: there are no comparisons");
  const load = () => loadModel(from, dtype ? { dtype } : {});
  let base = quantisedBase(await load(), from, config.quantise, config.lora);
  if (base.head !== "lm")
    throw new InputError("reward: the model has a scalar head already: begin from a language model");
  const maxLength = Math.min(config.maxLength, base.dimensions.context);
  const { train: learned, heldOut } = splitByPrompt(records, config.heldOut, config.seed);
  const { groups, tooLong } = groupByPrompt(base, learned, maxLength);
  const { groups: unseen } = groupByPrompt(base, heldOut, maxLength);
  if (!groups.length)
    throw new InputError(
      `reward: no pair is left of ${records.length} comparisons: all are ties or longer than ${maxLength} tokens`,
    );

  const perEpoch = Math.ceil(groups.length / config.batchSize);
  const total = Math.max(1, Math.round(perEpoch * config.epochs));
  const { saveEvery = perEpoch, evalEvery = perEpoch, keepCheckpoints: keep } = config;
  const journal = new Journal({
    run,
    resume,
    stage: "reward",
    config: { ...config, data: inWords(data) },
    parents: typeof from === "string" ? [from] : [],
  });
  try {
    const std = config.headInit === "openai" ? 1 / Math.sqrt(base.dimensions.hidden + 1) : 0.02;
    const { lora, seed } = config;
    const fresh = (share: boolean) => base.withScoreHead({ std, seed, share });
    const model = openLearner({ fresh, from: journal.from?.dir, dtype: base.dtype, lora, seed });
    // Adapters stand on the base's weights; else it is wanted again at the end only, to sample from.
    const released = base !== from && !lora;
    if (released) base.dispose();
    model.checkpointing = config.gradientCheckpointing;
    const optimizer = new AdamW(model.train().learned, { weightDecay: config.weightDecay });
    let { step, metrics, report }: State = { step: 0, metrics: {}, report: undefined };
    if (journal.from) {
      ({ step, metrics, report } = readState<State>(journal.from.dir));
      if (step < total) loadOptimizer(journal.from.dir, "reward", optimizer);
      yield journal.log({ type: "resumed", step });
    }
    const resumedAtEnd = step === total;
    const write = (dir: string) => {
      model.save(dir);
      saveTraining(dir, step < total ? { reward: optimizer } : {}, { step, metrics, report } satisfies State);
      if (report) writeFileSync(join(dir, "report.json"), JSON.stringify(report, null, 2));
    };

    if (config.headInit === "probe" && !journal.from) {
      yield journal.log({ type: "phase", what: "fitting the head to the comparisons" });
      probeHead(model, groups, config.microBatchTokens);
    }
    yield journal.log({ type: "start", stage: "reward", total });
    yield* journal.warn(fewComparisons(groups.reduce((sum, { pairs }) => sum + pairs.length, 0)));
    if (tooLong)
      yield* journal.warn([
        {
          code: "too-long",
          message: `${tooLong} completions make more than ${maxLength} tokens and were left out`,
        },
      ]);

    while (step < total) {
      if (signal?.aborted) yield* journal.interrupt(step, write, { keep });
      const batch = batchAt(groups, step, perEpoch, config);
      const rows = batch.flatMap(({ rows }) => rows);
      metrics = supervisedStep({ stage: "reward", step, total, perEpoch, optimizer, ...config }, rows, () => {
        const seen: number[] = [];
        const measured = accumulate(
          batchGroups(batch, config.microBatchTokens),
          (part) => lossOf(model, part, batch.length, seen),
          model,
        );
        const [min_reward, max_reward] = [Math.min(...seen), Math.max(...seen)];
        return { ...measured, min_reward, mean_reward: mean(seen), max_reward };
      });
      step++;
      yield journal.step(step, total, metrics);
      if (step === total) break;
      if (unseen.length && step % evalEvery === 0)
        yield journal.log({ type: "eval", step, metrics: evaluate(model, unseen).metrics });
      if (step % saveEvery === 0) yield* journal.save(step, write, { keep });
      await setImmediate(); // lets a signal in
    }
    optimizer.dispose();
    if (!resumedAtEnd) {
      // Calibration wants the model's own scale, so it comes before normalisation.
      if (unseen.length) {
        yield journal.log({ type: "phase", what: `evaluating on ${unseen.length} held-out prompts` });
        report = evaluate(model, unseen);
        metrics = { ...metrics, ...report.metrics };
        yield journal.log({ type: "eval", step, metrics: report.metrics });
      }
      if (config.normaliseSamples) {
        yield journal.log({
          type: "phase",
          what: `sampling ${config.normaliseSamples} answers to normalise the scores`,
        });
        if (released) base = await load();
        const prompts = groups.map(({ prompt }) => prompt);
        const scores = await normalise(model, base, prompts, config, signal);
        metrics = { ...metrics, "normalisation/mean": scores.mean, "normalisation/std": scores.std };
      }
      yield* journal.save(step, write, { keep });
    }
    model.finish();
    if (base !== from) base.dispose();
    trim();
    yield journal.log({ type: "done", step, metrics });
    return { model, metrics, report };
  } finally {
    journal.close();
  }
}

/** Ranking loss of some groups, as their share of a batch of `prompts`; their scores are added to `seen`. */
function lossOf(model: Model, groups: readonly Group[], prompts: number, seen: number[]) {
  const scores = rowScores(
    model,
    groups.flatMap(({ rows }) => rows),
  );
  seen.push(...scores.detach().toArray());
  const { better, worse, weights, margins } = pairsOf(groups, prompts);
  return rankingLoss(scores, better, worse, weights, margins);
}

/** Brings the scores of the base model's own samples to mean 0, deviation 1; returns what they were. */
async function normalise(
  model: Model,
  base: Model,
  prompts: Message[][],
  config: RewardConfig,
  signal?: AbortSignal,
): Promise<{ mean: number; std: number }> {
  const chosen = shuffled(prompts.length, config.seed)
    .slice(0, config.normaliseSamples)
    .map((i) => prompts[i] as Message[]);
  const samples = Math.ceil(config.normaliseSamples / chosen.length);
  const responses = await generate(
    base,
    chosen.map((prompt) => encodePrompt(base.text, prompt)),
    {
      maxTokens: config.sampleTokens,
      samples,
      seed: config.seed,
      signal,
    },
  );
  const rows = responses
    .filter(({ text }) => text !== "")
    .map(({ prompt, text }) => encodeExample(model.text, chosen[prompt] as Message[], text));
  const moments = mergeMoments(noMoments, scoreAll(model, rows));
  model.normaliseScores(moments.mean, deviation(moments));
  return { mean: moments.mean, std: deviation(moments) };
}
