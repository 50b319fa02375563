import { join } from "node:path";
import { InputError } from "../data/errors.ts";
import { writeAtomic, writeJsonl } from "../data/jsonl.ts";
import { readPrompts } from "../data/readers.ts";
import type { Prompt } from "../data/records.ts";
import type { Columns } from "../data/tables.ts";
import { sampleAnswers } from "../eval/answers.ts";
import { type BestOfNPoint, bestOfNCurve } from "../eval/best-of-n.ts";
import { scoreAnswers } from "../eval/judge.ts";
import { openReward } from "../rewards/open.ts";
import { type Report, renderReport } from "../run/report/render.ts";
import { formatInterval, type Interval } from "../statistics/bootstrap.ts";
import { groupBy } from "../statistics/groups.ts";
import { openPolicy, samplingOf } from "./eval-answers.ts";
import { createFolder, writeJson } from "./eval-folder.ts";
import { toCell } from "./eval-report.ts";
import type { AnswerOptions } from "./options.ts";
import { formatTable, interruptSignal, Progress, print } from "./terminal.ts";

export interface BestOfNOptions extends AnswerOptions {
  data?: string;
  columns?: Columns;
  limit?: number;
  /** Most samples that the best is chosen from. */
  bestOf: number;
  reward?: string;
  gold?: string;
}

interface BestOfN {
  policy: string;
  prompts: number;
  /** A point for every n. */
  curve: BestOfNPoint[];
}

/** An answer with its scores. */
interface ScoredAnswer {
  promptIndex: number;
  text: string;
  proxy: number;
  gold?: number;
}

/** Options of the comparison of policies, which the best of n has no use for. */
const unusedOptions = ["judge", "labels", "reference", "demonstrations"];

/** Measures what choosing the best of n answers by a reward brings, for every n from one sampling. */
export async function evaluateBestOfN(names: readonly string[], options: BestOfNOptions): Promise<void> {
  const { data, reward, gold, columns, limit, bestOf, out, json } = options;
  const [policy] = names;
  const unused = unusedOptions.find((name) => name in options);
  if (unused !== undefined) throw new InputError(`eval: --best-of does not take --${unused}`);
  if (policy === undefined || names.length > 1) throw new InputError("eval: --best-of is of one policy");
  if (bestOf < 2) throw new InputError("eval: --best-of needs 2 samples or more to choose from");
  if (data === undefined) throw new InputError("eval: give the prompts with --data");
  if (reward === undefined) throw new InputError("eval: --best-of needs --reward, which chooses");
  if (options.temperature === 0)
    throw new InputError("eval: --best-of needs a --temperature above 0, or all samples are equal");
  const prompts = (await readPrompts(data, columns)).records.slice(0, limit);
  const progress = new Progress(false);
  const signal = interruptSignal("\nstopping\n");
  const dtype = options.dtype ? { dtype: options.dtype } : {};
  const scorer = await openReward(reward, dtype);
  const goldScorer = gold === undefined ? undefined : await openReward(gold, dtype);
  const model = await openPolicy(policy, { ...dtype, progress });
  progress.line(`${policy} answers ${prompts.length} prompts ${bestOf} times`);
  const sampling = samplingOf({ ...options, samples: bestOf, signal, progress });
  const completions = await sampleAnswers(model, prompts, sampling);
  model.dispose();
  const scoring = {
    signal,
    onProgress: (done: number, total: number) => progress.count(done, total, "scored"),
  };
  const proxies = await scoreAnswers(scorer, prompts, completions, scoring);
  const golds = goldScorer && (await scoreAnswers(goldScorer, prompts, completions, scoring));
  scorer.dispose();
  goldScorer?.dispose();
  const answers = completions.map(
    ({ promptIndex, text }, i): ScoredAnswer => ({
      promptIndex,
      text,
      proxy: proxies[i] as number,
      ...(golds && { gold: golds[i] as number }),
    }),
  );
  const byPrompt = [...groupBy(answers, ({ promptIndex }) => promptIndex).values()];
  const result: BestOfN = { policy, prompts: prompts.length, curve: bestOfNCurve(byPrompt) };
  if (out !== undefined) writeFolder(out, result, prompts, byPrompt);
  print(json ? JSON.stringify(result) : format(result));
}

/** Writes samples, curve and page. */
function writeFolder(
  out: string,
  result: BestOfN,
  prompts: readonly Prompt[],
  byPrompt: readonly (readonly ScoredAnswer[])[],
): void {
  createFolder(out);
  writeJsonl(
    join(out, "samples.jsonl"),
    byPrompt.flat().map(({ promptIndex, text, ...scores }) => ({
      prompt: prompts[promptIndex]?.prompt,
      completion: text,
      ...scores,
    })),
  );
  writeJson(join(out, "report.json"), result);
  writeAtomic(join(out, "report.html"), (write) =>
    write(renderReport(bestOfNPage(result, prompts, byPrompt))),
  );
}

const klNote =
  "KL ≤ log n − (n − 1)/n: an upper bound of the KL from the model to its best of n (Beirami et al. 2024), not an estimate.";
const curveNote =
  "Each n is estimated without bias from all samples of a prompt (Nakano et al. 2021); intervals are 95 %, over prompts.";

/** Lays out the powers of two and the largest n as a table whose intervals are made by `cell`. */
function tableOf<T>(
  { curve }: BestOfN,
  cell: (interval: Interval | undefined) => T,
): { columns: string[]; rows: (string | T)[][] } {
  const shown = curve.filter(({ n }) => Number.isInteger(Math.log2(n)) || n === curve.length);
  const hasGold = curve[0]?.gold !== undefined;
  return {
    columns: ["n", "KL ≤, nats", "proxy", ...(hasGold ? ["gold", "gold over one sample"] : [])],
    rows: shown.map(({ n, klBound, proxy, gold, goldGain }) => [
      String(n),
      klBound.toFixed(2),
      cell(proxy),
      ...(hasGold ? [cell(gold), n > 1 ? cell(goldGain) : ""] : []),
    ]),
  };
}

/** Says in a sentence what gold shows. */
function conclude({ curve }: BestOfN): string | undefined {
  const last = curve.at(-1);
  if (!last?.goldGain) return undefined;
  const { low, high } = last.goldGain;
  const best = curve.reduce((best, point) =>
    (point.gold as Interval).value > (best.gold as Interval).value ? point : best,
  );
  if (Number.isNaN(low)) return "Too few prompts to say.";
  const verdict =
    low > 0
      ? `The best of ${last.n} is better than one sample by gold.`
      : high < 0
        ? `The best of ${last.n} is worse than one sample by gold.`
        : `The best of ${last.n} is not shown to differ from one sample by gold.`;
  return `${verdict} Gold is highest at n = ${best.n}.`;
}

function format(result: BestOfN): string {
  const { columns, rows } = tableOf(result, (interval) => (interval ? formatInterval(interval) : ""));
  return [formatTable([columns, ...rows]), "", klNote, curveNote, conclude(result) ?? ""]
    .join("\n")
    .trimEnd();
}

/** Prompts whose answers the page shows. */
const shownPrompts = 20;

/** Makes the page of a curve: the chosen answers beside one sample. */
function bestOfNPage(
  result: BestOfN,
  prompts: readonly Prompt[],
  byPrompt: readonly (readonly ScoredAnswer[])[],
): Report {
  const { policy, curve } = result;
  const chart = (title: string, value: (point: BestOfNPoint) => Interval | undefined) => ({
    title,
    xLabel: "√ of the bound of the KL, √nats",
    yLabel: title.toLowerCase(),
    series: [
      {
        name: title.toLowerCase(),
        points: curve.map((point) => [Math.sqrt(point.klBound), value(point)?.value ?? null] as const),
      },
    ],
  });
  return {
    title: `Best of n: ${policy}`,
    subtitle: conclude(result) ?? "What the reward chooses, by the reward itself.",
    facts: [
      { label: "prompts", value: String(result.prompts) },
      { label: "samples of each", value: String(curve.length) },
    ],
    tables: [{ title: "By n", note: `${klNote} ${curveNote}`, ...tableOf(result, toCell) }],
    charts: [
      chart("Proxy", ({ proxy }) => proxy),
      ...(curve[0]?.gold ? [chart("Gold", ({ gold }) => gold)] : []),
    ],
    samples: [
      {
        title: "Answers",
        note: `One sample, and the best of ${curve.length} by the proxy.`,
        items: byPrompt.slice(0, shownPrompts).map((answers) => {
          const first = answers[0] as ScoredAnswer;
          const best = answers.reduce((best, answer) => (answer.proxy > best.proxy ? answer : best), first);
          return {
            prompt: prompts[first.promptIndex]?.prompt.at(-1)?.content ?? "",
            answers: [
              { name: "one sample", text: first.text, note: describeScores(first) },
              { name: `best of ${curve.length}`, text: best.text, note: describeScores(best) },
            ],
          };
        }),
      },
    ],
  };
}

const describeScores = ({ proxy, gold }: ScoredAnswer): string =>
  `proxy ${proxy.toFixed(2)}${gold === undefined ? "" : `, gold ${gold.toFixed(2)}`}`;
