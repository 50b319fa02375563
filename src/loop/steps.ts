import { existsSync } from "node:fs";
import { groupByPrompt } from "../batch/groups.ts";
import { InputError } from "../data/errors.ts";
import { writeJsonl } from "../data/jsonl.ts";
import type { Comparison } from "../data/records.ts";
import { drawAt } from "../data/split.ts";
import { answerPrompts } from "../eval/answers.ts";
import { type AnswerMatch, matchesOf, type Policy, reportOn } from "../eval/policies.ts";
import { withoutPassword } from "../labels/database.ts";
import { openEnsemble } from "../models/ensemble.ts";
import type { Model } from "../models/model.ts";
import { loadModel } from "../models/pull.ts";
import { modelSampler } from "../rollout/generate.ts";
import type { Event, Metrics } from "../run/events.ts";
import { isRun, readEvents } from "../run/read.ts";
import { stageNamed } from "../stages/registry.ts";
import { evaluate } from "../stages/reward/evaluate.ts";
import { samplingOptions } from "../stages/settings.ts";
import type { Interval } from "../statistics/bootstrap.ts";
import { groupBy } from "../statistics/groups.ts";
import type { LoopRecipe, PeopleConfig } from "./config.ts";
import { files, readJson, readRecords, readWrittenPrompts, writeJson } from "./files.ts";
import { openJudge, tasksOfMatches, verdictsOfPeople } from "./judge.ts";
import { type AnswersToPrompt, divide, judgeByModel, type LabelerKind, simulate } from "./labelers.ts";
import { askPeople } from "./people.ts";
import { acceptedRound, type LoopState, type Results, type Step } from "./state.ts";

// What each step of a round does. A step that was killed is taken again: its files are written whole, and its training resumes.

export interface LoopContext extends LoopRecipe {
  run: string;
  state: LoopState;
  signal: AbortSignal | undefined;
  /** Called when work begins, with what it is. */
  onPhase: (what: string) => void;
  onEvent: (event: Event) => void;
}

/** Tasks that a loop waits for people to judge. */
export interface Waiting {
  /** What they are for. */
  what: string;
  missing: number;
  tasks: number;
  store: string;
  project: string;
}

/** What a step measured, or what it waits for. */
export interface Outcome {
  results?: Results;
  waiting?: Waiting;
  /** Id of the project of people's tasks. */
  project?: string;
}

/** The model that a round begins with: that of the newest accepted round before it, or the recipe's. */
export function policyBefore({ run, state, config }: LoopContext, round?: number): string {
  const accepted = acceptedRound(state, config, round);
  return accepted ? files(run).policy(accepted) : config.policy;
}

export const takeStep: Record<Step, (context: LoopContext, round: number) => Promise<Outcome>> = {
  /** Samples answers of the current policy to the round's prompts. Equal and empty answers are left out. */
  async sample(context, round) {
    const { run, config, signal, onPhase } = context;
    const prompts = await readWrittenPrompts(files(run).prompts);
    const { promptsPerRound = prompts.length, samplesPerPrompt } = config.sampling;
    const batch = drawAt(prompts, (round - 1) * promptsPerRound, promptsPerRound, config.seed);
    onPhase(`sampling ${samplesPerPrompt} answers to each of ${batch.length} prompts`);
    const model = await loadModel(policyBefore(context, round));
    try {
      const completions = await modelSampler(model).sample(
        batch.map(({ prompt }) => prompt),
        { ...samplingOptions(config.sampling), samples: samplesPerPrompt, seed: config.seed + round, signal },
      );
      const byPrompt = groupBy(completions, ({ promptIndex }) => promptIndex);
      const rows = batch.flatMap((prompt, i): AnswersToPrompt[] => {
        const texts = (byPrompt.get(i) ?? []).map(({ text }) => text).filter((text) => text.trim() !== "");
        const distinct = [...new Set(texts)];
        return distinct.length > 1 ? [{ ...prompt, completions: distinct }] : [];
      });
      if (!rows.length)
        throw new InputError(
          `loop, round ${round}: the policy gives no prompt two different answers, so there is nothing to compare: raise sampling.temperature or sampling.samplesPerPrompt`,
        );
      writeJsonl(files(run).answers(round), rows);
      return {};
    } finally {
      model.dispose();
    }
  },

  /** Lets the labelers compare the answers. */
  async label(context, round) {
    const { run, config, state, signal, onPhase } = context;
    const parts = divide(readRecords<AnswersToPrompt>(files(run).answers(round)), config.labelers);
    const { simulated, ai, people } = config.labelers;
    const seed = config.seed + round;
    /** Labels that are there already are not made again. */
    const labelled = async (kind: LabelerKind, label: (rows: AnswersToPrompt[]) => Promise<Comparison[]>) => {
      const path = files(run).comparisonsBy(round, kind);
      if (!existsSync(path)) {
        const rows = parts.get(kind) ?? [];
        onPhase(`${kind} labels: answers to ${rows.length} prompts`);
        writeJsonl(path, await label(rows));
      }
      return readRecords<Comparison>(path);
    };
    // People's tasks come first, so that they can begin.
    const rows = parts.get("people") ?? [];
    const asked =
      people && (await askPeople(people, taskSource(context, `round ${round}`), rows, state.project));
    const comparisons = [
      ...(simulated ? await labelled("simulated", (rows) => simulate(rows, simulated, seed, signal)) : []),
      ...(ai ? await labelled("ai", (rows) => judgeByModel(rows, ai, { seed, signal, onPhase })) : []),
      ...(asked?.comparisons ?? []),
    ];
    const project = asked && { project: asked.project };
    if (asked && asked.judged < asked.tasks)
      return { ...project, waiting: waitingFor(people as PeopleConfig, asked, `round ${round}`) };
    writeJsonl(files(run).comparisons(round), comparisons);
    return { ...project, results: { comparisons: comparisons.length } };
  },

  /** Measures how well the last round's reward model predicts this round's comparisons. */
  async predict({ run, onPhase }, round) {
    onPhase(`comparing the reward model of round ${round - 1} with the new labels`);
    const path = files(run).rewardModel(round - 1);
    const models = openEnsemble(path)?.members ?? [await loadModel(path)];
    try {
      const [model] = models as [Model];
      const comparisons = readRecords<Comparison>(files(run).comparisons(round));
      const { groups } = groupByPrompt(model, comparisons, model.dimensions.context);
      return groups.length ? { results: { prediction: accuracyOf(evaluate(models, groups).metrics) } } : {};
    } finally {
      for (const model of models) model.dispose();
    }
  },

  /** Trains a reward model on the comparisons of all rounds. */
  async reward(context, round) {
    const { run, config, written } = context;
    const all = Array.from({ length: round }, (_, i) =>
      readRecords<Comparison>(files(run).comparisons(i + 1)),
    ).flat();
    const data = files(run).training(round);
    writeJsonl(data, all);
    const settings = {
      model: config.policy,
      data,
      ...(written.reward as object),
      ...seedOf(context, "reward", round),
    };
    const metrics = await train(context, "reward", settings, files(run).rewardModel(round));
    return metrics.eval_accuracy === undefined ? {} : { results: { rewardAccuracy: accuracyOf(metrics) } };
  },

  /** Trains the policy by PPO or GRPO against the reward model. */
  async optimise(context, round) {
    const { run, config, written } = context;
    const stage = config.ppo ? "ppo" : "grpo";
    const {
      promptsPerRound: _,
      samplesPerPrompt: __,
      ...sampling
    } = (written.sampling ?? {}) as Record<string, unknown>;
    const settings = {
      policy: policyBefore(context, round),
      reward: files(run).rewardModel(round),
      prompts: files(run).prompts,
      allowNoSft: config.allowNoSft,
      ...sampling,
      ...(written[stage] as object),
      ...seedOf(context, stage, round),
    };
    await train(context, stage, settings, files(run).policy(round));
    return {};
  },

  /** Samples answers of the last policy and of the new one to the held-out prompts. */
  async answer(context, round) {
    const { run, config, signal, onPhase } = context;
    const prompts = await readWrittenPrompts(files(run).heldOut);
    const reference = await loadModel(config.policy);
    try {
      const policies: Policy[] = [];
      for (const name of [policyBefore(context, round), files(run).policy(round)]) {
        onPhase(`${name} answers ${prompts.length} held-out prompts`);
        const model = await loadModel(name);
        try {
          const answers = await answerPrompts(model, prompts, {
            ...samplingOptions(config.sampling),
            ...{ temperature: config.sampling.temperature, samples: config.evaluation.samples },
            ...{ seed: config.seed + round, signal, reference },
          });
          policies.push({ name, answers });
        } finally {
          model.dispose();
        }
      }
      writeJson(files(run).heldOutAnswers(round), policies);
      return {};
    } finally {
      reference.dispose();
    }
  },

  /** Judges these answers against each other. */
  async judge(context, round) {
    const { run, config, state, signal, onPhase } = context;
    const prompts = await readWrittenPrompts(files(run).heldOut);
    const policies = readJson<Policy[]>(files(run).heldOutAnswers(round));
    const matches = matchesOf(policies);
    const opened = await openJudge(config);
    if (opened !== "people") {
      onPhase(`judging ${matches.length} pairs of answers`);
      try {
        const verdicts = await opened.judge(prompts, matches, signal ? { signal } : {});
        return report(run, round, policies, matches, verdicts);
      } finally {
        opened.dispose();
      }
    }
    const people = config.labelers.people as PeopleConfig;
    const what = `evaluation of round ${round}`;
    const asked = await askPeople(
      people,
      taskSource(context, what),
      tasksOfMatches(prompts, matches),
      state.project,
    );
    if (asked.judged < asked.tasks)
      return { project: asked.project, waiting: waitingFor(people, asked, what) };
    return report(run, round, policies, matches, verdictsOfPeople(prompts, matches, asked.comparisons));
  },
};

/** Writes the evaluation of a round. */
function report(
  run: string,
  round: number,
  policies: readonly Policy[],
  matches: readonly AnswerMatch[],
  verdicts: Parameters<typeof reportOn>[2],
): Outcome {
  const evaluation = reportOn(policies, matches, verdicts);
  writeJson(files(run).evaluation(round), evaluation);
  const { winRate, kl } = evaluation.policies[1] ?? {};
  return { results: { winRate, kl } };
}

/** Name of tasks in the label store, which those of no other loop have. */
const taskSource = ({ run, state }: LoopContext, what: string): string => `${run}, ${what} (${state.id})`;

const waitingFor = (
  { store, project }: PeopleConfig,
  { judged, tasks }: { judged: number; tasks: number },
  what: string,
): Waiting => ({ what, missing: tasks - judged, tasks, store: withoutPassword(store), project });

/** Seed of a stage in a round: its setting, or the loop's, plus the round. */
function seedOf({ config, written }: LoopContext, stage: string, round: number): { seed: number } {
  const { seed } = (written[stage] ?? {}) as { seed?: number };
  return { seed: (seed ?? config.seed) + round };
}

/** Reads the accuracy of a reward model from its metrics. Too few prompts have no interval. */
const accuracyOf = ({
  eval_accuracy: value = Number.NaN,
  eval_accuracy_low: low = Number.NaN,
  eval_accuracy_high: high = Number.NaN,
}: Metrics): Interval => ({ value, low, high });

/** Runs a training stage to its end, from its last checkpoint if it was begun. @returns its last metrics */
async function train(
  { signal, onEvent, onPhase }: LoopContext,
  name: string,
  settings: Record<string, unknown>,
  run: string,
): Promise<Metrics> {
  const resume = isRun(run);
  // A kill may have come after the training and before the loop's state was saved.
  const last = resume ? readEvents(run).at(-1) : undefined;
  if (last?.type === "done") return last.metrics;
  const stage = stageNamed(name);
  if (!stage) throw new Error(`there is no stage ${name}`);
  onPhase(`${name}, in ${run}`);
  const training = await stage.start(settings, { run, resume, command: settings, signal });
  for await (const event of training) onEvent(event);
  const { model, metrics } = await training.done();
  model.dispose();
  return metrics;
}
