import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { Event, Metrics } from "../events.ts";
import { readEvents, readRunFile, readSamples } from "../read.ts";
import { newestCheckpoint } from "../run.ts";
import type { Chart } from "./charts.ts";
import { label } from "./charts.ts";
import type { Report } from "./render.ts";

/** A chart of a stage: `lines` has the metric of each line by its label. */
export type Plot = readonly [
  title: string,
  yLabel: string,
  lines: Readonly<Record<string, string>>,
  note?: string,
];

/** Returns the plots of a stage by its name. */
export type PlotsOf = (stage: string) => readonly Plot[];

/** Makes the charts of a run from its events. */
export function runCharts(dir: string, plotsOf: PlotsOf): Chart[] {
  const { stage } = readRunFile(dir);
  const points: { step: number; metrics: Metrics }[] = readEvents(dir).flatMap((event) =>
    event.type === "step" || event.type === "eval" ? [event] : [],
  );
  return plotsOf(stage).flatMap(([title, yLabel, series, note]) => {
    const drawn = Object.entries(series)
      .map(([name, metric]) => ({
        name,
        points: points
          .filter(({ metrics }) => metric in metrics)
          .map(({ step, metrics }) => [step, metrics[metric] ?? null] as const),
      }))
      .filter(({ points }) => points.length);
    return drawn.length ? [{ title, xLabel: "step", yLabel, series: drawn, ...(note ? { note } : {}) }] : [];
  });
}

/** Makes the report of a run: curves, last metrics, settings, warnings and samples. @throws InputError when `dir` is no run directory */
export function runReport(dir: string, plotsOf: PlotsOf): Report {
  const run = readRunFile(dir);
  const events = readEvents(dir);
  const steps = events.filter((event) => event.type === "step");
  const last = events.findLast((event) => event.type === "done" || event.type === "step");
  const metrics = last && "metrics" in last ? last.metrics : {};
  const warnings = events.filter((event) => event.type === "warning");
  const calibration = calibrationCharts(dir);
  return {
    title: `${basename(dir)}: ${run.stage}`,
    subtitle: `started ${run.created.slice(0, 16).replace("T", " ")} UTC, ${steps.length} steps logged, ${events.some(({ type }) => type === "done") ? "finished" : "not finished"}`,
    facts: Object.entries(metrics)
      .slice(0, 6)
      .map(([name, value]) => ({ label: name, value: value === null ? "–" : label(value) })),
    charts: [...runCharts(dir, plotsOf), ...overoptimisationCharts(events), ...calibration],
    tables: [
      ...(warnings.length
        ? [
            {
              title: "Warnings",
              columns: ["code", "message"],
              rows: warnings.map(({ code, message }) => [code, message]),
            },
          ]
        : []),
      {
        title: "Last metrics",
        columns: ["metric", "value"],
        rows: Object.entries(metrics).map(([name, value]) => [name, value === null ? "–" : label(value)]),
      },
      {
        title: "Settings",
        columns: ["setting", "value"],
        rows: Object.entries(run.config).map(([name, value]) => [name, JSON.stringify(value) ?? ""]),
      },
    ],
    samples: [
      {
        title: "Samples",
        note: "The same prompts are not drawn at every step; scores are the reward model's.",
        items: sampleItems(dir),
      },
    ],
  };
}

/** Selects samples of the first and the last step. */
function sampleItems(dir: string): Report["samples"][number]["items"] {
  const samples = readSamples(dir);
  const ends = [samples[0]?.step, samples.at(-1)?.step];
  return [...new Set(ends)].flatMap((step) =>
    samples
      .filter((sample) => sample.step === step)
      .slice(0, 4)
      .map(({ prompt, response, score }) => ({
        prompt,
        answers: [
          {
            name: `step ${step}`,
            text: response,
            ...(score === undefined ? {} : { note: `score ${label(score)}` }),
          },
        ],
      })),
  );
}

/** Makes the chart of gold over √KL, with its fit; none for a run without a monitor. */
function overoptimisationCharts(events: readonly Event[]): Chart[] {
  const checks = events.flatMap((event) =>
    event.type === "eval" && "monitor/gold" in event.metrics ? [event.metrics] : [],
  );
  const at = (metrics: Metrics, name: string) => metrics[`monitor/${name}`] as number;
  const points = checks
    .map((metrics) => [Math.sqrt(Math.max(0, at(metrics, "kl"))), at(metrics, "gold")] as const)
    .sort(([a], [b]) => a - b);
  const [start, end, last] = [checks[0], points.at(-1), checks.at(-1)];
  if (!start || !end || !last) return [];
  const [alpha, beta] = [at(last, "fit_alpha"), at(last, "fit_beta")];
  const fit = (d: number) => at(start, "gold") + (d > 0 ? d * (alpha - beta * Math.log(d)) : 0);
  const curve = Array.from({ length: 41 }, (_, i) => (i / 40) * end[0]).map((d) => [d, fit(d)] as const);
  return [
    {
      title: "Gold over √KL",
      note: "a point for each check; the fit is R(d) = d (α − β log d), Gao et al. 2023",
      xLabel: "√KL, nats",
      yLabel: "score",
      series: [
        { name: "gold", points },
        ...("monitor/fit_alpha" in last ? [{ name: "fit", points: curve }] : []),
      ],
    },
  ];
}

/** Makes the calibration chart of a reward run; none for other runs. */
function calibrationCharts(dir: string): Chart[] {
  const checkpoint = newestCheckpoint(dir);
  const reportPath = checkpoint && join(checkpoint.dir, "report.json");
  if (!reportPath || !existsSync(reportPath)) return [];
  const { calibration } = JSON.parse(readFileSync(reportPath, "utf8")) as {
    calibration: { confidence: number; accuracy: number }[];
  };
  return [
    {
      title: "Calibration",
      note: "on held-out pairs: how often the preferred one wins, at each confidence",
      xLabel: "confidence",
      yLabel: "accuracy",
      series: [
        {
          name: "reward model",
          points: calibration.map(({ confidence, accuracy }) => [confidence, accuracy] as const),
        },
        {
          name: "perfect",
          points: [
            [0.5, 0.5],
            [1, 1],
          ],
        },
      ],
    },
  ];
}
