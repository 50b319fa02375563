import {
  accident,
  alertOf,
  type Estimate,
  estimate,
  estimateRows,
  fleissKappa,
  kappas,
  kendallTau,
  krippendorffAlpha,
  meanOf,
  totalOf,
} from "../statistics/agreement.ts";
import { groupBy } from "../statistics/groups.ts";
import { mean } from "../statistics/numbers.ts";
import { cohorts } from "./cohorts.ts";
import { counted, excerpt, type Judged, judgements, pairOf } from "./judgements.ts";
import type { Project } from "./records.ts";
import type { LabelStore } from "./store.ts";

/** Prompts whose comparisons InstructGPT's reward model was trained on (Ouyang et al. 2022, table 6). */
const instructGpt = 33_000;

/** Pairs of labelers that are told of, those who agree little and not by accident first; and tasks. */
const listed = { pairs: 100, tasks: 50 };

/** What a project's judgements agree on, and what they cost. */
export async function quality(store: LabelStore, project: Project) {
  const all = await judgements(store, project.id);
  const open = counted(all);
  const { price, currency, rubric, kind, target = instructGpt } = project.settings;
  const users = await store.users();
  const names = new Map(users.map(({ id, name }) => [id, name]));
  const nameOf = (id: string) => names.get(id) ?? id;
  const pairs = preferences(open);
  const rated = [...pairs.values()].filter((said) => said.length > 1);
  // Which completion is stored first means nothing: both orders of every pair together have no side.
  const both = (of: typeof fleissKappa) =>
    estimateRows(rated.map(countsOf), (rows, times) =>
      of(
        rows.flatMap((row) => [row, row.toReversed()]),
        times.flatMap((like) => [like, like]),
      ),
    );
  const alpha = both((rows, times) => krippendorffAlpha(rows, [0, 1, 2], "nominal", times));
  const tasks = new Set(open.filter(({ verdicts }) => verdicts.length).map(({ task }) => task)).size;
  const two = kappas(rated.flatMap(bothSides), 3, "nominal")
    .map(({ a, b, items, ...kappa }) => ({
      ...kappa,
      a: nameOf(a),
      b: nameOf(b),
      comparisons: items / 2,
      // The comparisons of one ranking hang together: all of them say what one would of two people.
      items: Math.round(((items / 2) * tasks) / pairs.size),
    }))
    .sort((x, y) => accident(x) - accident(y));
  const alert = alertOf(alpha, two);
  // What came with a file was paid for elsewhere.
  const own = all.filter(({ source }) => source === null);
  const usable = [...preferences(counted(own)).values()].filter((said) => majority(said) !== 0).length;
  const spent = own.length * price;
  return {
    judgements: all.length,
    alpha,
    fleiss: both(fleissKappa),
    tau: kind === "ranking" ? tau(open) : {},
    criteria: rubric.map(({ name }) => ({ name, alpha: ratingAlpha(open, name) })),
    ...(alert !== undefined && { alert }),
    pairs: two.slice(0, listed.pairs).map(({ comparisons, ...pair }) => ({ ...pair, items: comparisons })),
    worst: await worst(store, open),
    cohorts: cohorts(open, users),
    spent,
    usable,
    currency,
    ...(usable > 0 && { costPerUsable: spent / usable }),
    ...(usable > 0 && {
      forecast: {
        target,
        cost: (spent / usable) * target,
        judgements: Math.ceil((own.length / usable) * target),
      },
    }),
    skipped: [...groupBy(all, ({ answer }) => answer.skip ?? "")]
      .filter(([reason]) => reason !== "")
      .map(([reason, those]) => ({ reason, count: those.length })),
  };
}

interface Said {
  labeler: string;
  /** 0 when the second is preferred, 1 for a tie, 2 for the first. */
  place: number;
}

/** Who prefers what, for every pair of completions of a task. */
function preferences(open: readonly Judged[]): Map<string, Said[]> {
  const said = open.flatMap((one) =>
    one.verdicts.map((verdict) => ({
      pair: pairOf(one.task, verdict),
      labeler: one.labeler,
      place: Math.sign(verdict.preferred) + 1,
    })),
  );
  return groupBy(said, ({ pair }) => pair);
}

const countsOf = (said: readonly Said[]): number[] =>
  [0, 1, 2].map((place) => said.filter((one) => one.place === place).length);

/** What each labeler prefers, and the same seen from the other side. */
const bothSides = (said: readonly Said[]): Map<string, number>[] => [
  new Map(said.map(({ labeler, place }) => [labeler, place])),
  new Map(said.map(({ labeler, place }) => [labeler, 2 - place])),
];

const majority = (said: readonly Said[]): number =>
  Math.sign(said.reduce((sum, { place }) => sum + place - 1, 0));

/** Mean Kendall's τ between labelers who ranked the same task. */
function tau(open: readonly Judged[]): Estimate {
  const tasks = [...groupBy(open, ({ task }) => task).values()].map((said) =>
    said.flatMap(({ answer }, i) =>
      said.slice(0, i).flatMap((other) => {
        const found = kendallTau(answer.ranks ?? [], other.answer.ranks ?? []);
        return typeof found === "number" ? [found] : [];
      }),
    ),
  );
  const ranked = tasks.filter((taus) => taus.length);
  return estimate(ranked.map(totalOf), meanOf("no task was ranked by two labelers"));
}

/** α of a criterion's ratings, on an ordinal scale. */
function ratingAlpha(open: readonly Judged[], criterion: string): Estimate {
  const rated = open.flatMap(({ task, answer }) =>
    (answer.ratings?.[criterion] ?? []).map((rating, place) => ({ item: `${task} ${place}`, rating })),
  );
  const values = [...new Set(rated.map(({ rating }) => rating))].sort((a, b) => a - b);
  const rows = [...groupBy(rated, ({ item }) => item).values()].map((those) =>
    values.map((value) => those.filter(({ rating }) => rating === value).length),
  );
  return estimateRows(rows, (some, times) => krippendorffAlpha(some, values, "ordinal", times));
}

/** Tasks by the share of pairs of labelers who differ about two of their completions, the worst first. */
async function worst(store: LabelStore, open: readonly Judged[]) {
  const tasks = [...groupBy(open, ({ task }) => task)].map(([task, said]) => {
    const pairs = [...preferences(said).values()].map((those) => {
      const n = those.length;
      const equal = countsOf(those).reduce((sum, count) => sum + count * (count - 1), 0);
      return n < 2 ? [] : [1 - equal / (n * (n - 1))];
    });
    const rates = pairs.flat();
    return { task, disagreement: rates.length ? mean(rates) : 0 };
  });
  const first = tasks
    .filter(({ disagreement }) => disagreement > 0)
    .sort((a, b) => b.disagreement - a.disagreement)
    .slice(0, listed.tasks);
  return Promise.all(
    first.map(async (one) => {
      const { messages } = await store.content(one.task);
      return { ...one, prompt: excerpt(messages) };
    }),
  );
}
