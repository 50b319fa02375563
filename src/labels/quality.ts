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
import { countedJudgements, type Judgement, pairKey, promptExcerpt, readJudgements } from "./judgements.ts";
import type { Project } from "./records.ts";
import type { LabelStore } from "./store.ts";

/** Number of prompts whose comparisons InstructGPT's reward model was trained on (Ouyang et al. 2022, table 6). */
const instructGptPrompts = 33_000;

/** Rows that the quality page lists at most. */
const listLimits = { pairs: 100, tasks: 50 };

/** Measures the agreement of a project's labelers, and the cost of its judgements. */
export async function projectQuality(store: LabelStore, project: Project) {
  const all = await readJudgements(store, project.id);
  const counted = countedJudgements(all);
  const { price, currency, rubric, kind, target = instructGptPrompts } = project.settings;
  const users = await store.users();
  const names = new Map(users.map(({ id, name }) => [id, name]));
  const nameOf = (id: string) => names.get(id) ?? id;
  const byPair = preferencesByPair(counted);
  const ratedTwice = [...byPair.values()].filter((preferences) => preferences.length > 1);
  const { alpha, fleiss } = agreementOnPairs(ratedTwice);
  const comparedTasks = new Set(
    counted.filter(({ preferences }) => preferences.length).map(({ task }) => task),
  ).size;
  const kappas = pairwiseKappas(ratedTwice.flatMap(bothOrders), [0, 1, 2], "nominal")
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
  const usable = [...preferencesByPair(countedJudgements(paid)).values()].filter(
    (preferences) => majoritySign(preferences) !== 0,
  ).length;
  const spent = paid.length * price;
  const perComparison = usable ? paid.length / usable : await expectedJudgements(store, project);
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
        cost: perComparison * target * price,
        judgements: Math.ceil(perComparison * target),
      },
    }),
    skipped: [...groupBy(all, ({ answer }) => answer.skip ?? "")]
      .filter(([reason]) => reason !== "")
      .map(([reason, judgements]) => ({ reason, count: judgements.length })),
  };
}

/** Judgements of a usable comparison if labelers agree about all of them. A judgement of more completions has more pairs. */
async function expectedJudgements(store: LabelStore, { id, settings }: Project): Promise<number> {
  const tasks = await store.db
    .selectFrom("completion")
    .innerJoin("task", "task.prompt", "completion.prompt")
    .select(({ fn }) => fn.countAll<number>().as("completions"))
    .where("task.project", "=", id)
    .where("task.withdrawn", "=", 0)
    .groupBy("task.id")
    .execute();
  const pairs = tasks.map(({ completions }) => (Number(completions) * (Number(completions) - 1)) / 2);
  return settings.overlap / Math.max(1, pairs.length ? mean(pairs) : 1);
}

/** A labeler's preference between the two completions of a pair. */
interface LabelerPreference {
  task: string;
  labeler: string;
  /** 0 if the second is preferred, 1 for a tie, 2 if the first is. */
  category: number;
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
          rows.flatMap((row) => [row, row.toReversed()]),
          times.flatMap((count) => [count, count]),
        ),
      pairs.map(([preference]) => preference?.task),
    );
  return {
    alpha: inBothOrders((rows, times) => krippendorffAlpha(rows, [0, 1, 2], "nominal", times)),
    fleiss: inBothOrders(fleissKappa),
  };
}

/** Groups the preferences of all judgements by pair of completions. */
export function preferencesByPair(judgements: readonly Judgement[]): Map<string, LabelerPreference[]> {
  const rows = judgements.flatMap(({ task, labeler, preferences }) =>
    preferences.map((preference) => ({
      pair: pairKey(task, preference),
      task,
      labeler,
      category: Math.sign(preference.margin) + 1,
    })),
  );
  return groupBy(rows, ({ pair }) => pair);
}

/** Counts the preferences of a pair in each category. */
const categoryCounts = (preferences: readonly LabelerPreference[]): number[] =>
  [0, 1, 2].map((category) => preferences.filter((preference) => preference.category === category).length);

/** Maps labelers to categories, once in stored order and once with the two completions exchanged. */
const bothOrders = (preferences: readonly LabelerPreference[]): Map<string, number>[] => [
  new Map(preferences.map(({ labeler, category }) => [labeler, category])),
  new Map(preferences.map(({ labeler, category }) => [labeler, 2 - category])),
];

/** Returns 1 if most labelers prefer the first completion, −1 if the second, 0 if they are split. */
const majoritySign = (preferences: readonly LabelerPreference[]): number =>
  Math.sign(preferences.reduce((sum, { category }) => sum + category - 1, 0));

/** Estimates the mean Kendall's τ between labelers who ranked the same task. */
function meanKendallTau(judgements: readonly Judgement[]): Estimate {
  const tausByTask = [...groupBy(judgements, ({ task }) => task).values()].map((taskJudgements) =>
    taskJudgements.flatMap(({ answer }, i) =>
      taskJudgements.slice(0, i).flatMap((other) => {
        const tau = kendallTau(answer.ranks ?? [], other.answer.ranks ?? []);
        return typeof tau === "number" ? [tau] : [];
      }),
    ),
  );
  const defined = tausByTask.filter((taus) => taus.length);
  return estimate(defined.map(countAndSum), pooledMean("no task was ranked by two labelers"));
}

/** Estimates Krippendorff's α of a criterion's ratings, on an ordinal scale. */
function ratingAlpha(judgements: readonly Judgement[], criterion: string): Estimate {
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
