import { bootstrap, formatInterval, type Interval, mean } from "../math/index.ts";
import type { Report } from "../run/report/render.ts";

/** Result of an optimiser's run on the quickstart's task with one seed. */
export interface Trial {
  optimiser: string;
  seed: number;
  /** Seconds of training, from its first event to its last. */
  seconds: number;
  /** Peak resident memory, where the system reports it. */
  gb: number | undefined;
  /** Responses sampled in training: 0 for an optimiser that trains on comparisons. */
  responses: number;
  /** KL to the SFT model in nats per response, on held-out instructions. */
  kl: number;
  /** Mean tokens per response. */
  length: number;
  /** Share of responses that reached a stop token. */
  finished: number;
  /** Gold score of its answers to each held-out instruction. */
  golds: number[];
  /** Gold score of the SFT model's answers to each. */
  before: number[];
}

/** Result of an optimiser over all its seeds. */
export interface Standing {
  optimiser: string;
  seeds: number;
  /** Mean gold over instructions and seeds; 95 % interval by bootstrap over instructions. */
  gold: Interval;
  /** Mean gain in gold over the SFT model. */
  gain: Interval;
  /** Mean gain of each seed. */
  gains: number[];
  kl: number;
  seconds: number;
  gb: number | undefined;
  responses: number;
  length: number;
  finished: number;
}

/** Aggregates trials by optimiser, best first. */
export function standings(trials: readonly Trial[]): Standing[] {
  const names = [...new Set(trials.map(({ optimiser }) => optimiser))];
  return names
    .map((optimiser): Standing => {
      const seeds = trials.filter((trial) => trial.optimiser === optimiser);
      const interval = (value: (trial: Trial, instruction: number) => number) =>
        bootstrap(
          (seeds[0] as Trial).golds.map((_, i) => mean(seeds.map((trial) => value(trial, i)))),
          mean,
        );
      const gain = (trial: Trial, i: number) => (trial.golds[i] as number) - (trial.before[i] as number);
      const average = (value: (trial: Trial) => number) => mean(seeds.map(value));
      const gbs = seeds.flatMap(({ gb }) => gb ?? []);
      return {
        optimiser,
        seeds: seeds.length,
        gold: interval(({ golds }, i) => golds[i] as number),
        gain: interval(gain),
        gains: seeds.map((trial) => mean(trial.golds.map((_, i) => gain(trial, i)))),
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

/** Makes a table with a row for each optimiser. */
export function comparisonTable(standings: readonly Standing[]): string[][] {
  return [
    columns,
    ...standings.map((standing) => [
      ...[standing.optimiser, formatInterval(standing.gold), formatInterval(standing.gain)],
      standing.gains.map((gain) => gain.toFixed(3)).join(" "),
      ...[standing.kl.toFixed(2), String(Math.round(standing.responses)), standing.seconds.toFixed(0)],
      ...[
        standing.gb?.toFixed(1) ?? "–",
        standing.length.toFixed(1),
        `${Math.round(100 * standing.finished)} %`,
      ],
    ]),
  ];
}

/** Makes the report page: the table, and charts of gold against KL, time and memory. */
export function comparisonReport(trials: readonly Trial[], budget: string): Report {
  const all = standings(trials);
  const [header = [], ...rows] = comparisonTable(all);
  const against = (title: string, xLabel: string, value: (trial: Trial) => number | undefined) => ({
    title,
    xLabel,
    yLabel: "gold",
    scatter: true,
    series: all.map(({ optimiser }) => ({
      name: optimiser,
      points: trials
        .filter((trial) => trial.optimiser === optimiser)
        .flatMap((trial) => {
          const x = value(trial);
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
