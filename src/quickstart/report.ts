import { join } from "node:path";
import type { Report } from "../run/report/render.ts";
import { runCharts } from "../run/report/run.ts";
import { plotsOf } from "../stages/registry.ts";
import { describeSampling, examples, type QuickstartResult, resultTable } from "./pipeline.ts";

/** Makes the quickstart's report: result table, curves of all stages, and each model's answers to the same instructions. */
export function quickstartReport(result: QuickstartResult, out: string): Report {
  const { gain, curve, reward, seconds, residentBytes, labelerAccuracy } = result;
  const [columns = [], ...rows] = resultTable(result);
  const stage = (name: string, title: string) =>
    runCharts(join(out, name), plotsOf).map((chart) => ({ ...chart, title: `${title}: ${chart.title}` }));
  const accuracy = reward?.metrics.eval_accuracy;
  return {
    title: "From demonstrations to PPO: SmolLM2-135M",
    subtitle:
      "Supervised fine-tuning on demonstrations, a reward model on rankings by simulated labelers who err, and PPO against it. A program checks the instructions' constraints: that is gold, which no model saw.",
    facts: [
      { label: "PPO − SFT, gold", value: gain.value.toFixed(3) },
      { label: "95 % interval", value: `${gain.low.toFixed(3)} to ${gain.high.toFixed(3)}` },
      {
        label: "reward model, held-out accuracy",
        value: accuracy === undefined ? "–" : `${Math.round(100 * accuracy)} %`,
      },
      { label: "labelers agree with gold", value: `${Math.round(100 * labelerAccuracy)} % of pairs` },
      { label: "time", value: `${Math.round(seconds / 6) / 10} min` },
      { label: "most memory", value: `${(residentBytes / 1e9).toFixed(1)} GB` },
    ],
    tables: [
      {
        title: "On held-out instructions",
        note: `${result.instructions.length} instructions, ${describeSampling(result)}; intervals by bootstrap over instructions. KL is to the SFT model.`,
        columns,
        rows,
      },
    ],
    charts: [
      {
        title: "Gold against the reward model",
        note: "each PPO step's samples; when the reward model's score climbs and gold does not, it is being gamed",
        xLabel: "PPO step",
        yLabel: "mean",
        series: [
          { name: "gold", points: curve.map(({ step, gold }) => [step, gold] as const) },
          { name: "reward model", points: curve.map(({ step, proxy }) => [step, proxy] as const) },
        ],
      },
      {
        title: "Gold against drift",
        note: "each PPO step's samples, by √KL to the SFT model",
        scatter: true,
        xLabel: "√KL, nats",
        yLabel: "gold",
        series: [
          {
            name: "gold",
            points: curve.map(({ kl, gold }) => [Math.sqrt(Math.max(0, kl)), gold] as const),
          },
        ],
      },
      ...stage("ppo", "PPO"),
      ...stage("reward", "Reward model"),
      ...stage("sft", "SFT"),
    ],
    samples: [
      {
        title: "The same instruction, before and after",
        items: examples(result, 12).map(({ prompt, answers }) => ({
          prompt,
          answers: answers.map(({ name, text, gold }) => ({
            name,
            text,
            note: `gold ${gold.toFixed(2)}`,
            good: gold === 1,
          })),
        })),
      },
    ],
  };
}
