import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { InputError } from "../../data/errors.ts";
import type { Event, Metrics } from "../events.ts";
import { newestCheckpoint } from "../run.ts";
import type { Chart } from "./charts.ts";
import { label } from "./charts.ts";
import type { Report } from "./render.ts";

type Plot = [title: string, yLabel: string, series: Record<string, string>, note?: string];

/** What to draw for each stage: the label of a line, and the metric it shows. */
const plots: Record<string, Plot[]> = {
  sft: [
    ["Loss", "nats a token", { train: "loss", "held out": "eval_loss" }],
    ["Accuracy", "share of tokens", { train: "mean_token_accuracy", "held out": "eval_accuracy" }],
    ["Gradient norm", "", { norm: "grad_norm" }],
  ],
  reward: [
    ["Loss", "nats a pair", { loss: "loss" }],
    ["Accuracy", "share of pairs", { train: "accuracy", "held out": "eval_accuracy" }],
    ["Margin", "score", { margin: "margin" }],
  ],
  dpo: [
    ["Loss", "", { train: "loss", "held out": "eval_loss" }],
    ["Accuracy", "share of pairs", { train: "rewards/accuracies", "held out": "eval_rewards/accuracies" }],
    [
      "Implied reward",
      "β nats",
      { chosen: "rewards/chosen", rejected: "rewards/rejected", margin: "rewards/margins" },
    ],
    [
      "Likelihood",
      "nats a completion",
      { chosen: "logps/chosen", rejected: "logps/rejected" },
      "both sides often fall: DPO asks for a difference",
    ],
    ["Gradient norm", "", { norm: "grad_norm" }],
  ],
  "online-dpo": [
    ["Score", "reward", { score: "objective/scores" }],
    ["Loss", "", { loss: "loss" }],
    [
      "Implied reward",
      "β nats",
      { chosen: "rewards/chosen", rejected: "rewards/rejected", margin: "rewards/margins" },
    ],
    ["Length", "tokens", { mean: "completions/mean_length" }],
    ["Prompts that teach nothing", "share", { share: "frac_reward_zero_std" }],
  ],
  grpo: [
    ["Score", "reward", { score: "objective/scores" }],
    ["KL to the reference", "nats a response", { KL: "objective/kl" }],
    ["Length", "tokens", { mean: "completions/mean_length" }],
    ["Entropy", "nats a response", { entropy: "objective/entropy" }],
    ["Prompts that teach nothing", "share", { share: "frac_reward_zero_std" }],
    ["Clipping", "share of tokens", { policy: "policy/clipfrac_avg" }],
    ["Gradient norm", "", { norm: "grad_norm" }],
  ],
  ppo: [
    [
      "Score",
      "reward model",
      { score: "objective/scores", "score less KL penalty, normalised": "objective/rlhf_reward" },
    ],
    ["KL to the reference", "nats a response", { KL: "objective/kl", "k3 estimate": "objective/kl_k3" }],
    ["β", "KL coefficient", { β: "objective/kl_coef" }],
    ["Length", "tokens", { mean: "completions/mean_length" }],
    ["Entropy", "nats a token", { entropy: "policy/entropy_avg" }],
    ["Losses", "", { policy: "loss/policy_avg", value: "loss/value_avg" }],
    [
      "Critic",
      "explained variance",
      { "explained variance": "val/explained_variance" },
      "1 is a perfect critic",
    ],
    ["Clipping", "share of tokens", { policy: "policy/clipfrac_avg", value: "val/clipfrac_avg" }],
  ],
};

/** The lines of a JSONL log; a line torn by a kill is passed over. */
function readLog(path: string): Event[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        return line ? [JSON.parse(line) as Event] : [];
      } catch {
        return [];
      }
    });
}

/** The curves of a run's events. */
export function chartsOf(dir: string): Chart[] {
  const { stage } = readRun(dir);
  const points: { step: number; metrics: Metrics }[] = readLog(join(dir, "events.jsonl")).flatMap((event) =>
    event.type === "step" || event.type === "eval" ? [event] : [],
  );
  return (plots[stage] ?? []).flatMap(([title, yLabel, series, note]) => {
    const drawn = Object.entries(series)
      .map(([name, metric]) => ({
        name,
        points: points
          .filter(({ metrics }) => metric in metrics)
          .map(({ step, metrics }) => [step, metrics[metric] ?? null] as const),
      }))
      .filter((one) => one.points.length);
    return drawn.length ? [{ title, xLabel: "step", yLabel, series: drawn, ...(note ? { note } : {}) }] : [];
  });
}

interface RunFile {
  stage: string;
  created: string;
  config: Record<string, unknown>;
}

function readRun(dir: string): RunFile {
  const path = join(dir, "run.json");
  if (!existsSync(path))
    throw new InputError(`${dir}: not a run: it has no run.json. \`plumbline runs\` lists them`);
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new InputError(`${path}: not JSON: ${(error as Error).message}`);
  }
}

/** A run's curves, last numbers, settings, warnings and samples. @throws InputError when `dir` is no run */
export function reportOfRun(dir: string): Report {
  const run = readRun(dir);
  const events = readLog(join(dir, "events.jsonl"));
  const steps = events.filter((event) => event.type === "step");
  const last = events.findLast((event) => event.type === "done" || event.type === "step");
  const metrics = last && "metrics" in last ? last.metrics : {};
  const warnings = events.filter((event) => event.type === "warning");
  const calibration = calibrationOf(dir);
  return {
    title: `${basename(dir)}: ${run.stage}`,
    subtitle: `begun ${run.created.slice(0, 16).replace("T", " ")} UTC, ${steps.length} steps logged, ${events.some(({ type }) => type === "done") ? "finished" : "not finished"}`,
    facts: Object.entries(metrics)
      .slice(0, 6)
      .map(([name, value]) => ({ label: name, value: value === null ? "–" : label(value) })),
    charts: [...chartsOf(dir), ...calibration],
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
        items: samplesOf(dir),
      },
    ],
  };
}

/** Some samples of the first and of the last step. */
function samplesOf(dir: string): Report["samples"][number]["items"] {
  const samples = readLog(join(dir, "samples.jsonl")).filter((event) => event.type === "sample");
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

/** A reward run's reliability curve. */
function calibrationOf(dir: string): Chart[] {
  const checkpoint = newestCheckpoint(dir);
  const found = checkpoint && join(checkpoint.dir, "report.json");
  if (!found || !existsSync(found)) return [];
  const { calibration } = JSON.parse(readFileSync(found, "utf8")) as {
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
