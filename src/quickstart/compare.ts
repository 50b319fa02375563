import { bootstrap, type Interval, mean } from "../math/index.ts";
import type { Report } from "../run/report/render.ts";

/** An optimiser's run on the quickstart's task, with one seed. */
export interface Trial {
  optimiser: string;
  seed: number;
  /** From the first step's beginning to the end; the largest resident set, where the system tells it. */
  seconds: number;
  gb: number | undefined;
  /** Responses sampled while it learned: none where it learns from comparisons. */
  responses: number;
  /** Nats a response from where it began, on held-out instructions. */
  kl: number;
  /** Tokens a response, and the share that ended. */
  length: number;
  finished: number;
  /** By held-out instruction: gold of its answers, and of the model that all began from. */
  golds: number[];
  before: number[];
}

/** An optimiser over its seeds. */
export interface Standing {
  optimiser: string;
  seeds: number;
  /** Mean over instructions and seeds; 95 % by bootstrap over instructions. */
  gold: Interval;
  gain: Interval;
  /** Each seed's. */
  gains: number[];
  kl: number;
  seconds: number;
  gb: number | undefined;
  responses: number;
  length: number;
  finished: number;
}

/** The optimisers side by side, best first. */
export function standings(trials: readonly Trial[]): Standing[] {
  const names = [...new Set(trials.map(({ optimiser }) => optimiser))];
  return names
    .map((optimiser): Standing => {
      const own = trials.filter((trial) => trial.optimiser === optimiser);
      const over = (of: (trial: Trial, instruction: number) => number) =>
        bootstrap(
          (own[0] as Trial).golds.map((_, i) => mean(own.map((trial) => of(trial, i)))),
          mean,
        );
      const gain = (trial: Trial, i: number) => (trial.golds[i] as number) - (trial.before[i] as number);
      const average = (of: (trial: Trial) => number) => mean(own.map(of));
      const gbs = own.flatMap(({ gb }) => gb ?? []);
      return {
        optimiser,
        seeds: own.length,
        gold: over(({ golds }, i) => golds[i] as number),
        gain: over(gain),
        gains: own.map((trial) => mean(trial.golds.map((_, i) => gain(trial, i)))),
        kl: average(({ kl }) => kl),
        seconds: average(({ seconds }) => seconds),
        gb: gbs.length ? Math.max(...gbs) : undefined,
        responses: average(({ responses }) => responses),
        length: average(({ length }) => length),
        finished: average(({ finished }) => finished),
      };
    })
    .sort((a, b) => b.gold.value - a.gold.value);
}

const columns = [
  ...["optimiser", "gold [95 %]", "over SFT [95 %]", "each seed", "KL, nats"],
  ...["responses", "seconds", "GB", "tokens", "finished"],
];

/** A header and a row for each optimiser. */
export function comparisonTable(all: readonly Standing[]): string[][] {
  const interval = ({ value, low, high }: Interval) =>
    `${value.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
  return [
    columns,
    ...all.map((one) => [
      ...[one.optimiser, interval(one.gold), interval(one.gain)],
      one.gains.map((gain) => gain.toFixed(3)).join(" "),
      ...[one.kl.toFixed(2), String(Math.round(one.responses)), one.seconds.toFixed(0)],
      ...[one.gb?.toFixed(1) ?? "–", one.length.toFixed(1), `${Math.round(100 * one.finished)} %`],
    ]),
  ];
}

/** The page: the table, and gold against what it cost. */
export function comparisonReport(trials: readonly Trial[], budget: string): Report {
  const all = standings(trials);
  const [header = [], ...rows] = comparisonTable(all);
  const against = (title: string, xLabel: string, of: (trial: Trial) => number | undefined) => ({
    title,
    xLabel,
    yLabel: "gold",
    scatter: true,
    series: all.map(({ optimiser }) => ({
      name: optimiser,
      points: trials
        .filter((trial) => trial.optimiser === optimiser)
        .flatMap((trial) => {
          const x = of(trial);
          return x === undefined ? [] : [[x, mean(trial.golds)] as const];
        }),
    })),
  });
  return {
    title: "Optimisers on one task",
    subtitle: `All begin from one SFT model and learn from one reward model or the comparisons that it was made from; a program checks held-out answers, which is gold. ${budget}`,
    facts: [],
    tables: [
      {
        title: "On held-out instructions",
        note: "Means over seeds; intervals by bootstrap over instructions, so they say nothing of other seeds. Memory is the largest of any seed.",
        columns: header,
        rows,
      },
    ],
    charts: [
      against("Gold against drift", "√KL, nats", ({ kl }) => Math.sqrt(Math.max(0, kl))),
      against("Gold against time", "seconds", ({ seconds }) => seconds),
      against("Gold against memory", "GB", ({ gb }) => gb),
    ],
    samples: [],
  };
}
