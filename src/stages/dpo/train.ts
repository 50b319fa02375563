import { setImmediate } from "node:timers/promises";
import { batchGroups, groupByPrompt, pairTensors, toMeans } from "../../batch/groups.ts";
import type { Row } from "../../batch/pack.ts";
import { allSequenceLogprobs } from "../../batch/score.ts";
import { InputError } from "../../data/errors.ts";
import { readComparisons, readUnpaired, unpair } from "../../data/readers.ts";
import type { Comparison, Unpaired } from "../../data/records.ts";
import { batchAt, splitByPrompt } from "../../data/split.ts";
import type { Model } from "../../models/model.ts";
import { accumulate, type Loss } from "../../nn/accumulate.ts";
import { parseConfig } from "../../run/config.ts";
import type { Event, Metrics } from "../../run/events.ts";
import { type Training, training } from "../../run/training.ts";
import type { Warning } from "../../run/warnings.ts";
import { tensor } from "../../tensor/index.ts";
import { type MonitoredState, openMonitor } from "../monitor.ts";
import { Stage, type StageOptions, splitOptions } from "../stage.ts";
import { completionsTooLong, countSteps, readRecords, supervisedStep } from "../supervised.ts";
import { addReference, completionsOf, type Reference, referenceLogprob } from "./completions.ts";
import { type DpoConfig, type DpoSettings, dpoConfig } from "./config.ts";
import { ktoLoss, pairLoss } from "./loss.ts";
import { type Thumbs, thumbsByPrompt } from "./thumbs.ts";

export interface DpoOptions extends DpoSettings, StageOptions {
  /** The SFT model, or a name or path for `loadModel`: where the policy begins, and the frozen reference. It is not changed. */
  model: Model | string;
  /** Comparisons, or a file of them. With loss `kto` also thumbs up and down. */
  data: string | readonly Comparison[] | readonly Unpaired[];
}

export interface DpoResult {
  /** The trained policy: a new model, yours to dispose of. */
  model: Model;
  metrics: Metrics;
}

/** The completions of a prompt: pairs of them, or for KTO completions with thumbs. */
type Group = ReturnType<typeof groupByPrompt>["groups"][number] | Thumbs;

/**
 * Direct preference optimisation (Rafailov et al. 2023) and its variants: a policy learns from comparisons, or KTO's
 * thumbs, without a reward model. The reference's log-probabilities are computed once, before the first step.
 * @throws InputError for bad data or settings, DivergedError when the loss is not finite
 */
export const dpo = (options: DpoOptions): Training<DpoResult> => training(train(options));

async function* train({ model: from, data, ...rest }: DpoOptions): AsyncGenerator<Event, DpoResult> {
  const { options, settings } = splitOptions(rest);
  const config = parseConfig(dpoConfig, settings, "dpo");
  const state: MonitoredState = { step: 0, metrics: {} };
  const stage = await Stage.open("dpo", from, options, config, state);
  try {
    const maxLength = Math.min(config.maxLength, stage.base.dimensions.context);
    const { learned, unseen, warnings } = await readGroups(stage, data, maxLength, config);
    const perEpoch = Math.ceil(learned.length / config.batchSize);
    const total = countSteps(perEpoch, config);
    const monitorOf = await openMonitor(stage, undefined, [...unseen, ...learned], {
      ...config,
      steps: total,
    });
    stage.openRun({ total, data: { data }, parents: [from] });
    yield* stage.start(warnings);

    const isReferred = config.loss !== "simpo" && config.loss !== "orpo";
    const reference: Reference | undefined = isReferred ? new Map() : undefined;
    if (reference)
      yield* stage.phase("log-probabilities under the reference", async () => {
        for (const part of batchGroups([...learned, ...unseen], 2048)) {
          stage.signal?.throwIfAborted();
          addReference(reference, stage.base, part.flatMap(allRows));
          await setImmediate(); // lets a signal in
        }
      });
    const keepBase = config.monitor !== undefined;
    const policy = stage.learner((share) => stage.base.clone({ share }), { keepBase });
    const optimizer = stage.optimizer("policy", policy, { weightDecay: config.weightDecay });

    const step = () => {
      const batch = batchAt(learned, stage.state.step, perEpoch, config);
      const rows = batch.flatMap(({ rows }) => [...rows]);
      const progress = { stage: "dpo", step: stage.state.step, total, perEpoch };
      const metrics = supervisedStep({ ...progress, optimizer, ...config }, rows, () =>
        measure(policy, batch, reference, config, true),
      );
      return { metrics };
    };
    const evaluate = () => {
      const measured = Object.entries(measure(policy, unseen, reference, config, false));
      return { metrics: Object.fromEntries(measured.map(([name, value]) => [`eval_${name}`, value])) };
    };
    const { saveEvery = perEpoch, evalEvery: every = perEpoch } = config;
    const what = `evaluating on ${unseen.length} held-out prompts`;
    yield* stage.steps({
      saveEvery,
      step,
      evaluations: [unseen.length ? { every, what, measure: evaluate } : undefined, monitorOf(policy)],
    });
    return { model: yield* stage.finish(policy), metrics: stage.state.metrics };
  } finally {
    stage.dispose();
  }
}

/** Reads the data and groups it by prompt. @returns groups to learn from and held-out groups, and warnings of what was left out */
async function readGroups(
  { base: model, columns }: Stage,
  data: DpoOptions["data"],
  maxLength: number,
  config: DpoConfig,
): Promise<{ learned: Group[]; unseen: Group[]; warnings: Warning[] }> {
  const kto = config.loss === "kto";
  const read = kto ? readUnpaired : readComparisons;
  const { records: all, warnings } = await readRecords<Comparison | Unpaired>(data, read, columns);
  const records = kto ? all.flatMap((record) => ("ranks" in record ? unpair(record) : record)) : all;
  const group = (records: readonly (Comparison | Unpaired)[]): { groups: Group[]; tooLong: number } =>
    kto
      ? thumbsByPrompt(model, records as Unpaired[], maxLength)
      : groupByPrompt(model, records as Comparison[], maxLength);
  if (!records.length) throw new InputError("dpo: there is no data");
  const { train, heldOut } = splitByPrompt<Comparison | Unpaired>(records, config.heldOut, config.seed);
  const { groups: learned, tooLong } = group(train);
  if (!learned.length)
    throw new InputError(
      `dpo: nothing is left of ${records.length} records: all are ties or longer than ${maxLength} tokens`,
    );
  return {
    learned,
    unseen: group(heldOut).groups,
    warnings: [...warnings, ...completionsTooLong(tooLong, maxLength)],
  };
}

/** All rows of a group whose log-probability under the reference is needed. */
const allRows = (group: Group): readonly Row[] =>
  "mismatched" in group ? [...group.rows, group.mismatched] : group.rows;

/** Computes loss and metrics of groups. @param learn whether to add the gradients */
function measure(
  model: Model,
  groups: readonly Group[],
  reference: Reference | undefined,
  config: DpoConfig,
  learn: boolean,
): Metrics {
  const kl = config.loss === "kto" && reference ? mismatchedKl(model, groups as Thumbs[], reference) : 0;
  const measured = accumulate(
    batchGroups(groups, config.microBatchTokens),
    (part) => lossOf(model, part, groups, reference, kl, config),
    learn ? model : undefined,
  );
  if (config.loss !== "kto") return toMeans(measured);
  // Metrics of one side are means over that side's completions.
  const { chosen = 0, rejected = 0, ...rest } = measured;
  const share = (name: string) =>
    name.endsWith("/chosen") ? chosen : name.endsWith("/rejected") ? rejected : 1;
  return {
    ...Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, value / share(name)])),
    kl,
  };
}

/** Computes the loss of a part of a batch, as its share of the batch's loss. */
function lossOf(
  model: Model,
  part: readonly Group[],
  batch: readonly Group[],
  reference: Reference | undefined,
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
  const { better, worse, weights } = pairTensors(part as Exclude<Group, Thumbs>[], batch.length);
  return pairLoss(completions, better, worse, weights, { loss, ...options });
}

/** Estimates KTO's z: the policy's KL to the reference on mismatched completions, not below 0, in nats. */
function mismatchedKl(model: Model, groups: readonly Thumbs[], reference: Reference): number {
  const rows = groups.map(({ mismatched }) => mismatched);
  const logprobs = allSequenceLogprobs(model, rows);
  const ratios = rows.map((row, i) => (logprobs[i] as number) - referenceLogprob(reference, row));
  return Math.max(0, ratios.reduce((a, b) => a + b, 0) / ratios.length);
}
