import { setImmediate } from "node:timers/promises";
import { batchGroups, groupByPrompt, pairTensors } from "../../batch/groups.ts";
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
import { tensor } from "../../tensor/index.ts";
import { Stage, type StageOptions } from "../stage.ts";
import { completionsTooLong, supervisedStep } from "../supervised.ts";
import { completionsOf, type Reference, refer, referred } from "./completions.ts";
import { type DpoConfig, type DpoSettings, dpoConfig } from "./config.ts";
import { ktoLoss, pairLoss } from "./loss.ts";
import { type Thumbs, thumbsByPrompt } from "./thumbs.ts";

export interface DpoOptions extends DpoSettings, StageOptions {
  /** The SFT model, or a name or path for `loadModel`: where the policy begins, and the frozen reference. It is not changed. */
  model: Model | string;
  /** Comparisons, or a file of them; for `kto` thumbs up and down, or a file of them or of comparisons. */
  data: string | readonly Comparison[] | readonly Unpaired[];
}

export interface DpoResult {
  /** The trained policy: a new model, yours to dispose of. */
  model: Model;
  metrics: Metrics;
}

/** A prompt's completions, with pairs of them for every loss but KTO's. */
type Group = ReturnType<typeof groupByPrompt>["groups"][number] | Thumbs;

/**
 * Direct preference optimisation (Rafailov et al. 2023) and its variants: a policy learns from comparisons, or KTO's
 * thumbs, without a reward model. The reference's log-probabilities are computed once, before the first step.
 * @throws InputError for bad data or settings, DivergedError when the loss is not finite
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
  const options = { dtype, run, resume, signal };
  const stage = await Stage.open("dpo", from, options, config, { step: 0, metrics: {} });
  try {
    const maxLength = Math.min(config.maxLength, stage.base.dimensions.context);
    const { learned, unseen, tooLong } = await readGroups(stage.base, data, maxLength, config);
    const perEpoch = Math.ceil(learned.length / config.batchSize);
    const total = Math.max(1, Math.round(perEpoch * config.epochs));
    stage.openRun({ total, data: { data }, parents: [from] });
    yield* stage.start(completionsTooLong(tooLong, maxLength));

    const isReferred = config.loss !== "simpo" && config.loss !== "orpo";
    const reference: Reference | undefined = isReferred ? new Map() : undefined;
    if (reference)
      yield* stage.phase("log-probabilities under the reference", async () => {
        for (const part of batchGroups([...learned, ...unseen], 2048)) {
          signal?.throwIfAborted();
          refer(reference, stage.base, part.flatMap(allRows));
          await setImmediate(); // lets a signal in
        }
      });
    const policy = stage.learner((share) => stage.base.clone({ share }));
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
      evaluate: unseen.length ? { every, what, measure: evaluate } : undefined,
    });
    return { model: yield* stage.finish(policy), metrics: stage.state.metrics };
  } finally {
    stage.dispose();
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
  reference: Reference | undefined,
  config: DpoConfig,
  learn: boolean,
): Metrics {
  const kl = config.loss === "kto" && reference ? klElsewhere(model, groups as Thumbs[], reference) : 0;
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

/** KTO's z: how far the policy is from the reference on completions of other prompts, not below 0, in nats. */
function klElsewhere(model: Model, groups: readonly Thumbs[], reference: Reference): number {
  const rows = groups.map(({ elsewhere }) => elsewhere);
  const logprobs = allSequenceLogprobs(model, rows);
  const ratios = rows.map((row, i) => (logprobs[i] as number) - referred(reference, row));
  return Math.max(0, ratios.reduce((a, b) => a + b, 0) / ratios.length);
}
