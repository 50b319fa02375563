import { setImmediate } from "node:timers/promises";
import { InputError } from "../data/errors.ts";
import { readComparisons, readUnpaired, unpair } from "../data/readers.ts";
import type { Comparison, Unpaired } from "../data/records.ts";
import { batchAt, splitByPrompt } from "../data/split.ts";
import { loadOptimizer, openLearner, quantisedBase, saveTraining } from "../models/checkpoint.ts";
import { batchGroups, groupByPrompt, pairsOf } from "../models/groups.ts";
import type { Model } from "../models/model.ts";
import type { Row } from "../models/pack.ts";
import { loadModel } from "../models/pull.ts";
import { supervisedStep } from "../models/supervised.ts";
import { accumulate, type Loss } from "../nn/accumulate.ts";
import { AdamW } from "../nn/adamw.ts";
import { logprobAll } from "../rollout/score.ts";
import { parseConfig } from "../run/config.ts";
import type { Event, Metrics } from "../run/events.ts";
import { inWords, Journal, readState } from "../run/journal.ts";
import { type Training, training } from "../run/training.ts";
import { type DType, tensor, trim } from "../tensor/index.ts";
import { completionsOf, type Reference, refer } from "./completions.ts";
import { type DpoConfig, type DpoSettings, dpoConfig } from "./config.ts";
import { ktoLoss, pairLoss } from "./loss.ts";
import { type Thumbs, thumbsByPrompt } from "./thumbs.ts";

export interface DpoOptions extends DpoSettings {
  /** The SFT model, or a name or path for `loadModel`: where the policy begins, and the frozen reference. It is not changed. */
  model: Model | string;
  /** Comparisons, or a file of them; for `kto` thumbs up and down, or a file of them or of comparisons. */
  data: string | readonly Comparison[] | readonly Unpaired[];
  dtype?: DType;
  run?: string | undefined;
  resume?: boolean;
  signal?: AbortSignal;
}

export interface DpoResult {
  /** The trained policy: a new model, yours to dispose of. */
  model: Model;
  metrics: Metrics;
}

interface State {
  step: number;
  metrics: Metrics;
}

/** A prompt's completions, with pairs of them for every loss but KTO's. */
type Group = ReturnType<typeof groupByPrompt>["groups"][number] | Thumbs;

/**
 * Direct preference optimisation (Rafailov et al. 2023) and its variants: a policy learns from comparisons, or KTO's
 * thumbs, without a reward model. The reference's log-probabilities are computed once, before the first step.
 * @throws InputError for bad data or settings, or when the loss is not finite
 */
export const dpo = (options: DpoOptions): Training<DpoResult> => training(train(options));

async function* train({
  model: from,
  data,
  dtype,
  run,
  resume,
  signal,
  ...settings
}: DpoOptions): AsyncGenerator<Event, DpoResult> {
  const config = parseConfig(dpoConfig, settings, "dpo");
  const loaded = await loadModel(from, dtype ? { dtype } : {});
  const base = quantisedBase(loaded, from, config.quantise, config.lora);
  const maxLength = Math.min(config.maxLength, base.dimensions.context);
  const { learned, unseen, tooLong } = await readGroups(base, data, maxLength, config);

  const perEpoch = Math.ceil(learned.length / config.batchSize);
  const total = Math.max(1, Math.round(perEpoch * config.epochs));
  const { saveEvery = perEpoch, evalEvery = perEpoch, keepCheckpoints: keep } = config;
  const journal = new Journal({
    run,
    resume,
    stage: "dpo",
    config: { ...config, data: inWords(data) },
    parents: typeof from === "string" ? [from] : [],
  });
  try {
    yield journal.log({ type: "start", stage: "dpo", total });
    if (tooLong)
      yield* journal.warn([
        {
          code: "too-long",
          message: `${tooLong} completions make more than ${maxLength} tokens and were left out`,
        },
      ]);
    const reference: Reference = new Map();
    if (config.loss !== "simpo" && config.loss !== "orpo") {
      yield journal.log({ type: "phase", what: "log-probabilities under the reference" });
      for (const part of batchGroups([...learned, ...unseen], 2048)) {
        signal?.throwIfAborted();
        refer(reference, base, part.flatMap(allRows));
        await setImmediate(); // lets a signal in
      }
    }
    const { lora, seed } = config;
    const fresh = (share: boolean) => base.clone({ share });
    const policy = openLearner({ fresh, from: journal.from?.dir, dtype: base.dtype, lora, seed });
    policy.stage = "dpo";
    if (base !== from && !lora) base.dispose();
    policy.checkpointing = config.gradientCheckpointing;
    const optimizer = new AdamW(policy.train().learned, { weightDecay: config.weightDecay });
    let { step, metrics }: State = { step: 0, metrics: {} };
    if (journal.from) {
      ({ step, metrics } = readState<State>(journal.from.dir));
      if (step < total) loadOptimizer(journal.from.dir, "policy", optimizer);
      yield journal.log({ type: "resumed", step });
    }
    const write = (dir: string) => {
      policy.save(dir);
      saveTraining(dir, step < total ? { policy: optimizer } : {}, { step, metrics } satisfies State);
    };

    while (step < total) {
      if (signal?.aborted) yield* journal.interrupt(step, write, { keep });
      const batch = batchAt(learned, step, perEpoch, config);
      const rows = batch.flatMap(({ rows }) => [...rows]);
      metrics = supervisedStep({ stage: "dpo", step, total, perEpoch, optimizer, ...config }, rows, () =>
        measure(policy, batch, reference, config, true),
      );
      step++;
      yield journal.step(step, total, metrics);
      if (unseen.length && (step % evalEvery === 0 || step === total)) {
        yield journal.log({ type: "phase", what: `evaluating on ${unseen.length} held-out prompts` });
        const found = Object.entries(measure(policy, unseen, reference, config, false));
        const evaluated = Object.fromEntries(found.map(([name, value]) => [`eval_${name}`, value]));
        metrics = { ...metrics, ...evaluated };
        yield journal.log({ type: "eval", step, metrics: evaluated });
      }
      if (step % saveEvery === 0 || step === total) yield* journal.save(step, write, { keep });
      await setImmediate(); // lets a signal in
    }
    optimizer.dispose();
    policy.finish();
    if (base !== from && lora) base.dispose();
    trim();
    yield journal.log({ type: "done", step, metrics });
    return { model: policy, metrics };
  } finally {
    journal.close();
  }
}

/** The data by prompt, to be learned from and held out. */
async function readGroups(
  model: Model,
  data: DpoOptions["data"],
  maxLength: number,
  config: DpoConfig,
): Promise<{ learned: Group[]; unseen: Group[]; tooLong: number }> {
  const kto = config.loss === "kto";
  const read = kto ? readUnpaired : readComparisons;
  const given: readonly (Comparison | Unpaired)[] =
    typeof data === "string" ? (await read(data)).records : data;
  const records = kto ? given.flatMap((one) => ("ranks" in one ? unpair(one) : one)) : given;
  const group = (some: readonly (Comparison | Unpaired)[]): { groups: Group[]; tooLong: number } =>
    kto
      ? thumbsByPrompt(model, some as Unpaired[], maxLength)
      : groupByPrompt(model, some as Comparison[], maxLength);
  if (!records.length) throw new InputError("dpo: there is no data");
  const { train, heldOut } = splitByPrompt<Comparison | Unpaired>(records, config.heldOut, config.seed);
  const { groups: learned, tooLong } = group(train);
  if (!learned.length)
    throw new InputError(
      `dpo: nothing is left of ${records.length} records: all are ties or longer than ${maxLength} tokens`,
    );
  return { learned, unseen: group(heldOut).groups, tooLong };
}

const allRows = (group: Group): readonly Row[] =>
  "elsewhere" in group ? [...group.rows, group.elsewhere] : group.rows;

/** Loss and metrics of some groups; with `learn`, gradients are added. */
function measure(
  model: Model,
  groups: readonly Group[],
  reference: Reference,
  config: DpoConfig,
  learn: boolean,
): Metrics {
  const kl = config.loss === "kto" ? klElsewhere(model, groups as Thumbs[], reference) : 0;
  const measured = accumulate(
    batchGroups(groups, config.microBatchTokens),
    (part) => lossOf(model, part, groups, reference, kl, config),
    learn ? model : undefined,
  );
  if (config.loss !== "kto") return measured;
  // What is said of one side is a mean over that side.
  const { chosen = 0, rejected = 0, ...rest } = measured;
  const share = (name: string) =>
    name.endsWith("/chosen") ? chosen : name.endsWith("/rejected") ? rejected : 1;
  return {
    ...Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, value / share(name)])),
    kl,
  };
}

/** The loss of a part of a batch, as its share of the batch's. */
function lossOf(
  model: Model,
  part: readonly Group[],
  batch: readonly Group[],
  reference: Reference,
  kl: number,
  { loss, ...options }: DpoConfig,
): Loss {
  const rows = part.flatMap(({ rows }) => rows);
  const completions = completionsOf(model, rows, reference);
  if (loss === "kto") {
    const good = (part as Thumbs[]).flatMap(({ good }) => good);
    const weight = 1 / batch.reduce((sum, { rows }) => sum + rows.length, 0);
    return ktoLoss(completions, tensor(good), tensor(good.map(() => weight)), kl, options);
  }
  const { better, worse, weights } = pairsOf(part as Exclude<Group, Thumbs>[], batch.length);
  return pairLoss(completions, better, worse, weights, { loss, ...options });
}

/** KTO's z: how far the policy is from the reference on completions of other prompts, not below 0, in nats. */
function klElsewhere(model: Model, groups: readonly Thumbs[], reference: Reference): number {
  const rows = groups.map(({ elsewhere }) => elsewhere);
  const logprobs = logprobAll(model, rows);
  const ratios = rows.map((row, i) => (logprobs[i] as number) - (reference.get(row) as number));
  return Math.max(0, ratios.reduce((a, b) => a + b, 0) / ratios.length);
}
