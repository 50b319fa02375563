import { InputError } from "../data/errors.ts";
import { readComparisonsAndMetadata } from "../data/readers.ts";
import type { Columns } from "../data/tables.ts";
import { type RewardAccuracy, rewardAccuracy } from "../eval/reward-accuracy.ts";
import { openReward } from "../rewards/open.ts";
import { formatInterval } from "../statistics/bootstrap.ts";
import type { DType } from "../tensor/index.ts";
import { formatTable, interruptSignal, openLines, Progress, print } from "./terminal.ts";

export interface RewardOptions {
  data: string;
  columns?: Columns;
  reward: string;
  category?: string;
  limit?: number;
  dtype?: DType;
  out?: string;
  json?: boolean;
}

/** Comparisons scored together. */
const atOnce = 32;

/** Measures how often a reward gives the highest score to a right answer, by category. */
export async function evaluateReward({
  data,
  columns,
  reward,
  category,
  ...options
}: RewardOptions): Promise<void> {
  const records = (await readComparisonsAndMetadata(data, columns)).slice(0, options.limit);
  const field =
    category ?? ["subset", "category"].find((name) => records.some(({ metadata }) => name in metadata));
  const missing = category && !records.some(({ metadata }) => category in metadata);
  if (missing) throw new InputError(`${data}: no row has the field "${category}"`);
  const labelled = records.map(({ id, metadata, ...comparison }) => ({
    comparison,
    category: field === undefined ? "all" : String(metadata[field] ?? "none"),
    id,
    metadata,
  }));
  const signal = interruptSignal("\nstopping\n");
  const progress = new Progress(false);
  const scorer = await openReward(reward, options.dtype ? { dtype: options.dtype } : {});
  const scores: number[][] = [];
  while (scores.length < labelled.length) {
    const part = labelled.slice(scores.length, scores.length + atOnce);
    const answers = part.flatMap(({ comparison: { prompt, completions }, metadata }) =>
      completions.map((text) => ({ prompt, text, metadata })),
    );
    const scored = (await scorer.score(answers, signal)).map(({ score }) => score);
    for (const { comparison } of part) scores.push(scored.splice(0, comparison.completions.length));
    progress.count(scores.length, labelled.length, "comparisons");
  }
  scorer.dispose();
  if (options.out !== undefined) {
    const file = openLines(options.out);
    for (const [i, { comparison, category }] of labelled.entries())
      file.write({ ...comparison, category, scores: scores[i] });
    file.close();
  }
  const accuracy = rewardAccuracy(labelled, scores);
  print(options.json ? JSON.stringify(accuracy) : formatAccuracy(accuracy));
}

function formatAccuracy({ categories, overall, byCategory, ties, sections }: RewardAccuracy): string {
  const all = categories.reduce((sum, { comparisons }) => sum + comparisons, 0);
  const table = formatTable([
    ["category", "comparisons", "accuracy [95 %]"],
    ...(categories.length > 1
      ? categories.map(({ category, comparisons, accuracy }) => [
          category,
          String(comparisons),
          formatInterval(accuracy),
        ])
      : []),
    ["all", String(all), formatInterval(overall)],
  ]);
  return [
    table,
    ...(ties === undefined ? [] : [`Ties by RewardBench 2's rule: ${ties.toFixed(3)}`]),
    ...(categories.length > 1
      ? [`Mean over categories${ties === undefined ? "" : ", Ties by its rule"}: ${byCategory.toFixed(3)}`]
      : []),
    ...(sections
      ? [
          `RewardBench: ${Object.entries(sections)
            .map(([name, value]) => `${name} ${value.toFixed(3)}`)
            .join(", ")}`,
        ]
      : []),
    "Chance is one over the number of answers. Intervals are over prompts.",
  ].join("\n");
}
