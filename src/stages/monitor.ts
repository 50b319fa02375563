import { z } from "zod";
import { tokenLogprobs } from "../batch/score.ts";
import { readConstitution } from "../constitution/constitution.ts";
import { openFeedback } from "../constitution/open-feedback.ts";
import { InputError } from "../data/errors.ts";
import { readPrompts } from "../data/readers.ts";
import type { Prompt } from "../data/records.ts";
import { responseKl, wordsOf } from "../eval/evaluate.ts";
import { type Gold, judgedGold, scoredGold } from "../eval/gold.ts";
import {
  alarms,
  type Check,
  type MonitorState,
  monitorMetrics,
  type PromptMeasures,
  remember,
} from "../eval/monitor.ts";
import { mean } from "../math/index.ts";
import type { Model } from "../models/model.ts";
import { scoreRange } from "../models/training-distribution.ts";
import type { LoraConfig } from "../nn/lora-config.ts";
import { repetition } from "../rewards/builtin.ts";
import { openReward, type RewardInput } from "../rewards/open.ts";
import type { Answer, Scorer } from "../rewards/scorer.ts";
import { modelSampler } from "../rollout/generate.ts";
import { type ScoredCompletion, sampleAndScore } from "../rollout/sample-and-score.ts";
import { groupBy } from "../statistics/groups.ts";
import { restoreWeights } from "./checkpoint.ts";
import type { Evaluation } from "./loop.ts";
import {
  type MonitorConfig,
  type SamplingConfig,
  samplingOptions,
  sampling as samplingSettings,
} from "./settings.ts";
import type { Stage, StageState } from "./stage.ts";

export interface MonitoredState extends StageState {
  monitor?: MonitorState;
}

interface Settings extends Partial<SamplingConfig> {
  monitor?: MonitorConfig | undefined;
  lora?: LoraConfig | undefined;
  steps: number;
  seed: number;
}

/**
 * Opens the monitor of a stage whose policy starts as `stage.base`, which has to stay beside the policy.
 * @param scorer what the policy learns from; undefined for a stage without a reward, whose proxy is the KL @param prompts of the stage, of which the first are taken if there are no others
 * @returns a function that makes the stage's evaluation of the policy; it is undefined without a `monitor` in the settings
 * @throws InputError when gold cannot be opened, or there are too few prompts
 */
export async function openMonitor<State extends MonitoredState>(
  stage: Stage<State>,
  scorer: Scorer | undefined,
  prompts: readonly Prompt[],
  config: Settings,
): Promise<(policy: Model) => Evaluation | undefined> {
  const { monitor, lora } = config;
  if (!monitor) return () => undefined;
  if (monitor.onAlarm === "keepBest" && !stage.writesRun)
    throw new InputError(
      "monitor.onAlarm: keepBest needs a run directory, where the best checkpoint is saved",
    );
  const gold = await openGold(stage, monitor);
  const all = monitor.prompts === undefined ? prompts : (await readPrompts(monitor.prompts)).records;
  const fixed = all.slice(0, monitor.promptCount);
  if (fixed.length < 2)
    throw new InputError(`monitor: it needs 2 prompts or more, and there are ${fixed.length}`);
  const checks = Math.ceil(config.steps / monitor.every);

  return (policy) => {
    const measure = async () => {
      const check = await checkPolicy(policy, stage, scorer, gold, fixed, { ...config, monitor });
      const before = stage.state.monitor;
      const state = remember(before, check);
      stage.state = { ...stage.state, monitor: state };
      const raised = before ? alarms(before, check, { checks, maxKl: monitor.maxKl }) : [];
      return {
        metrics: monitorMetrics(state, check),
        best: state.best === check,
        warnings: raised,
        stop: monitor.onAlarm !== "log" && raised.some(({ stops }) => stops),
      };
    };
    return {
      every: monitor.every,
      what: `answering ${fixed.length} fixed prompts for the monitor`,
      measure,
      isFirstDue: () => stage.state.monitor === undefined,
      restoreBest:
        monitor.onAlarm === "keepBest" ? (dir: string) => restoreWeights(policy, dir, lora) : undefined,
    };
  };
}

/** Opens what the answers are measured by. @throws InputError unless there is one such thing, or it cannot be opened */
async function openGold(stage: Pick<Stage, "base" | "use">, { gold, judge }: MonitorConfig): Promise<Gold> {
  if ((gold === undefined) === (judge === undefined))
    throw new InputError(
      "monitor: give either gold, what answers are measured by, or judge, a model that compares them",
    );
  const { dtype } = stage.base;
  if (!judge) return scoredGold(stage.use(await openReward(gold as RewardInput, { dtype })));
  const constitution = readConstitution(judge.constitution);
  const [feedback, dispose] = await openFeedback(judge.model, judge.endpoint, { dtype });
  stage.use({ dispose });
  return judgedGold(feedback, constitution);
}

/** Scores nothing. */
const noScorer: Scorer = {
  score: async (answers) => answers.map(() => ({ score: 0, parts: {} })),
  model: undefined,
  dispose() {},
};

/** Answers the fixed prompts and measures the answers. */
async function checkPolicy<State extends MonitoredState>(
  policy: Model,
  { base: reference, state: { step, monitor: before } }: Stage<State>,
  scorer: Scorer | undefined,
  gold: Gold,
  prompts: readonly Prompt[],
  config: Settings & { monitor: MonitorConfig },
): Promise<Check> {
  const { samples: perPrompt, ...monitor } = config.monitor;
  const temperature = monitor.temperature ?? config.temperature ?? 1;
  const maxTokens = monitor.maxTokens ?? config.maxTokens ?? 128;
  // A generator of its own: the stage's would sample otherwise with a monitor than without. It is not interrupted, so that a
  // resumed run has the same checks.
  const sampling = {
    ...samplingOptions({ ...sampler.parse({}), ...config, temperature, maxTokens }),
    ...{ samples: perPrompt, seed: config.seed + step },
  };
  const samples = await sampleAndScore(modelSampler(policy), scorer ?? noScorer, prompts, sampling);
  const golds = await gold(prompts, samples, before?.first.texts);
  const kls = responseKl(policy, reference, samples, temperature);
  const byPrompt = groupBy(
    samples.map((sample, i) => ({ ...sample, gold: golds[i] as number, kl: kls[i] as number })),
    ({ promptIndex }) => promptIndex,
  );
  const half = Math.ceil(perPrompt / 2);
  const disagreements = samples.flatMap(({ disagreement }) => disagreement ?? []);
  const distances = samples.flatMap(({ distance }) => distance ?? []);
  const learned = scorer?.model?.distribution;
  const highest = learned && scoreRange(learned).highest;
  return {
    step,
    prompts: [...byPrompt.values()].map(
      (answers): PromptMeasures => ({
        proxy: mean(answers.map(({ score, kl }) => (scorer ? score : kl))),
        chosenBy: mean(answers.slice(0, half).map(({ gold }) => gold)),
        testedBy: mean(answers.slice(half).map(({ gold }) => gold)),
        kl: mean(answers.map(({ kl }) => kl)),
        tokens: mean(answers.map(({ tokens }) => tokens.length)),
      }),
    ),
    entropy: -mean(tokenLogprobs(policy, samples, temperature).flat()),
    ...patterns(samples),
    ...(config.monitor.judge && !before && { texts: samples.map(({ text }) => text) }),
    ...(disagreements.length && { disagreement: mean(disagreements) }),
    ...(distances.length && { distance: mean(distances) }),
    ...(highest !== undefined && {
      beyondTraining: mean(samples.map(({ score }) => Number(score > highest))),
    }),
  };
}

const sampler = z.object(samplingSettings);
const repeats = repetition({ size: 3 });

/** Measures how much answers repeat each other and themselves. */
function patterns(answers: readonly (ScoredCompletion & Answer)[]) {
  const words = answers.map(({ text }) => wordsOf(text));
  const largestShare = (ngrams: string[]) =>
    Math.max(...[...groupBy(ngrams, (ngram) => ngram).values()].map(({ length }) => length)) / answers.length;
  return {
    sameBeginning: largestShare(words.map((all) => all.slice(0, 3).join(" "))),
    sameEnding: largestShare(words.map((all) => all.slice(-3).join(" "))),
    repetition: -mean(answers.map(({ prompt, text }) => repeats(prompt, text, {}) as number)),
  };
}
