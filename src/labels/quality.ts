import {
  agreementAlert,
  fleissKappa,
  kendallTau,
  krippendorffAlpha,
  lowAgreementPValue,
  pairwiseKappas,
} from "../statistics/agreement.ts";
import {
  countAndSum,
  type Estimate,
  estimate,
  estimateFromCounts,
  pooledMean,
} from "../statistics/estimate.ts";
import { groupBy } from "../statistics/groups.ts";
import { mean } from "../statistics/numbers.ts";
import { cohortAgreement } from "./cohorts.ts";
import { countedJudgements, type Judgement, promptExcerpt, readJudgements } from "./judgements.ts";
import {
  categories,
  categoryCounts,
  exchanged,
  hasMajority,
  type LabelerPreference,
  preferencesByPair,
} from "./labeler-preferences.ts";
import { pairwisePreferences } from "./pairwise-preferences.ts";
import type { Project } from "./records.ts";
import { parseAnswer } from "./settings.ts";
import type { LabelStore } from "./store.ts";

/**
 * Usable comparisons that the forecast is for by default: one for each of the 33,000 prompts that InstructGPT's reward model
 * was trained on (Ouyang et al. 2022, table 6), which had 6 to 36 each, of 4 to 9 completions.
 */
const defaultTarget = 33_000;

/** Rows that the quality page lists at most. */
const listLimits = { pairs: 100, tasks: 50 };

/** Measures the agreement of a project's labelers, and the cost of its judgements. */
export async function projectQuality(store: LabelStore, project: Project) {
  const all = await readJudgements(store, project.id);
  const counted = countedJudgements(all);
  const { price, currency, rubric, kind, target = defaultTarget } = project.settings;
  const users = await store.users();
  const names = new Map(users.map(({ id, name }) => [id, name]));
  const nameOf = (id: string) => names.get(id) ?? id;
  const byPair = preferencesByPair(counted);
  const ratedTwice = [...byPair.values()].filter((preferences) => preferences.length > 1);
  const { alpha, fleiss } = agreementOnPairs(ratedTwice);
  const comparedTasks = new Set([...byPair.values()].map(([preference]) => preference?.task)).size;
  const kappas = pairwiseKappas(ratedTwice.flatMap(bothOrders), categories, "nominal")
    .map(({ a, b, items, ...kappa }) => ({
      ...kappa,
      a: nameOf(a),
      b: nameOf(b),
      comparisons: items / 2,
      // The comparisons of one ranking are not independent, so for the significance test each task counts as one item.
      items: Math.round(((items / 2) * comparedTasks) / byPair.size),
    }))
    .sort((x, y) => lowAgreementPValue(x) - lowAgreementPValue(y));
  const alert = agreementAlert(alpha, kappas);
  // Imported judgements were not paid for here.
  const paid = all.filter(({ source }) => source === null);
  const paidCounted = countedJudgements(paid);
  const usable = await usableComparisons(store, project, paidCounted);
  const spent = paid.length * price;
  const perComparison = usable
    ? { judgements: paid.length / usable, tasks: new Set(paidCounted.map(({ task }) => task)).size / usable }
    : await expectedWork(store, project);
  return {
    judgements: all.length,
    alpha,
    fleiss,
    tau: kind === "ranking" ? meanKendallTau(counted) : {},
    criteria: rubric.map(({ name }) => ({ name, alpha: ratingAlpha(counted, name) })),
    ...(alert !== undefined && { alert }),
    pairs: kappas
      .slice(0, listLimits.pairs)
      .map(({ comparisons, ...kappa }) => ({ ...kappa, items: comparisons })),
    worst: await mostDisputedTasks(store, counted),
    cohorts: cohortAgreement(counted, users),
    spent,
    usable,
    currency,
    ...(usable > 0 && { costPerUsable: spent / usable }),
    ...(kind !== "demonstration" && {
      forecast: {
        target,
        cost: perComparison.judgements * target * price,
        judgements: Math.ceil(perComparison.judgements * target),
        tasks: Math.ceil(perComparison.tasks * target),
      },
    }),
    skipped: [...groupBy(all, ({ answer }) => answer.skip ?? "")]
      .filter(([reason]) => reason !== "")
      .map(([reason, judgements]) => ({ reason, count: judgements.length })),
  };
}

/**
 * Counts the pairs that labels say something about: those with a majority (see `hasMajority`), and in tasks that a reviewer
 * has decided, those that the decision prefers one completion of.
 */
async function usableComparisons(
  store: LabelStore,
  project: Project,
  judgements: readonly Judgement[],
): Promise<number> {
  const decisions = await store.db
    .selectFrom("adjudication")
    .select(["task", "answer"])
    .where("project", "=", project.id)
    .execute();
  const answerByTask = new Map(decisions.map(({ task, answer }) => [task, parseAnswer(answer)]));
  const usable = [...groupBy(judgements, ({ task }) => task)].map(([task, taskJudgements]) => {
    const decision = answerByTask.get(task);
    return decision
      ? pairwisePreferences(decision).filter(({ margin }) => margin !== 0).length
      : [...preferencesByPair(taskJudgements).values()].filter(hasMajority).length;
  });
  return usable.reduce((sum, count) => sum + count, 0);
}

/**
 * Computes the judgements and tasks of a usable comparison if labelers agree about all of them. A task of k completions has
 * k(k − 1)/2 comparisons.
 */
async function expectedWork(
  store: LabelStore,
  { id, settings }: Project,
): Promise<{ judgements: number; tasks: number }> {
  const tasks = await store.db
    .selectFrom("completion")
    .innerJoin("task", "task.prompt", "completion.prompt")
    .select(({ fn }) => fn.countAll<number>().as("completions"))
    .where("task.project", "=", id)
    .where("task.withdrawn", "=", 0)
    .groupBy("task.id")
    .execute();
  const pairs = tasks.map(({ completions }) => (Number(completions) * (Number(completions) - 1)) / 2);
  const perTask = Math.max(1, pairs.length ? mean(pairs) : 1);
  return { judgements: settings.overlap / perTask, tasks: 1 / perTask };
}

/**
 * Estimates the agreement of labelers about pairs of completions, with intervals over tasks: pairs of one task depend on each
 * other. The stored order of two completions has no meaning, so every pair is counted in both orders.
 * @param pairs preferences of each pair: see `preferencesByPair`
 */
export function agreementOnPairs(
  pairs: readonly (readonly LabelerPreference[])[],
): Record<"alpha" | "fleiss", Estimate> {
  const inBothOrders = (statistic: typeof fleissKappa) =>
    estimateFromCounts(
      pairs.map(categoryCounts),
      (rows, times) =>
        statistic(
          rows.flatMap((row) => [row, categories.map((category) => row[exchanged(category)] as number)]),
          times.flatMap((count) => [count, count]),
        ),
      pairs.map(([preference]) => preference?.task),
    );
  return {
    alpha: inBothOrders((rows, times) => krippendorffAlpha(rows, categories, "nominal", times)),
    fleiss: inBothOrders(fleissKappa),
  };
}

/** Maps labelers to categories, once in stored order and once with the two completions exchanged. */
const bothOrders = (preferences: readonly LabelerPreference[]): Map<string, number>[] => [
  new Map(preferences.map(({ labeler, category }) => [labeler, category])),
  new Map(preferences.map(({ labeler, category }) => [labeler, exchanged(category)])),
];

/**
 * Estimates the mean Kendall's τ between labelers who ranked the same task. τ-b is undefined for a ranking that is all ties,
 * and here 0 beside one that is not, and 1 beside another: it has no order to agree on (as τ_x, Emond & Mason 2002).
 */
export function meanKendallTau(judgements: readonly Judgement[]): Estimate {
  const tausByTask = [...groupBy(judgements, ({ task }) => task).values()].map((taskJudgements) =>
    taskJudgements.flatMap(({ answer: { ranks = [] } }, i) =>
      taskJudgements.slice(0, i).map(({ answer: { ranks: others = [] } }) => {
        const tau = kendallTau(ranks, others);
        return typeof tau === "number" ? tau : Number(isAllTies(ranks) && isAllTies(others));
      }),
    ),
  );
  const defined = tausByTask.filter((taus) => taus.length);
  return estimate(defined.map(countAndSum), pooledMean("no task was ranked by two labelers"));
}

const isAllTies = (ranks: readonly number[]): boolean => new Set(ranks).size < 2;

/** Estimates Krippendorff's α of a criterion's ratings, on an ordinal scale. */
export function ratingAlpha(judgements: readonly Judgement[], criterion: string): Estimate {
  const ratings = judgements.flatMap(({ task, answer }) =>
    (answer.ratings?.[criterion] ?? []).map((rating, place) => ({ task, item: `${task} ${place}`, rating })),
  );
  const values = [...new Set(ratings.map(({ rating }) => rating))].sort((a, b) => a - b);
  const items = [...groupBy(ratings, ({ item }) => item).values()].filter((item) => item.length > 1);
  return estimateFromCounts(
    items.map((item) => values.map((value) => item.filter(({ rating }) => rating === value).length)),
    (rows, times) => krippendorffAlpha(rows, values, "ordinal", times),
    items.map(([rating]) => rating?.task),
  );
}

/**
 * Lists the tasks with the highest disagreement first: the share of pairs of labelers who differ about two completions,
 * averaged over the task's pairs of completions.
 */
async function mostDisputedTasks(store: LabelStore, judgements: readonly Judgement[]) {
  const tasks = [...groupBy(judgements, ({ task }) => task)].map(([task, taskJudgements]) => {
    const rates = [...preferencesByPair(taskJudgements).values()].flatMap((preferences) => {
      const n = preferences.length;
      const equal = categoryCounts(preferences).reduce((sum, count) => sum + count * (count - 1), 0);
      return n < 2 ? [] : [1 - equal / (n * (n - 1))];
    });
    return { task, disagreement: rates.length ? mean(rates) : 0 };
  });
  const disputed = tasks
    .filter(({ disagreement }) => disagreement > 0)
    .sort((a, b) => b.disagreement - a.disagreement)
    .slice(0, listLimits.tasks);
  return Promise.all(
    disputed.map(async ({ task, disagreement }) => {
      const { messages } = await store.taskContent(task);
      return { task, disagreement, prompt: promptExcerpt(messages) };
    }),
  );
}
