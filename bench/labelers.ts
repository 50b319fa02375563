// Measures the gain of weighting labelers by their reliability. Twenty simulated labelers judge the answers of a
// quickstart's SFT model in a real label store: twelve err on a tenth of pairs, six answer at random, two answer the
// opposite of the truth. Reward models are trained on their judgements with equal weights and with the store's weights.
// Their accuracy is measured on pairs of answers to unseen instructions, against the task's checker.
// `npm run bench:labelers -- [--run runs/quickstart] [--seeds 3]`

import { join } from "node:path";
import { parseArgs } from "node:util";
import { scoreAll } from "../src/batch/score.ts";
import { formatTable } from "../src/cli/terminal.ts";
import { readComparisons } from "../src/data/readers.ts";
import type { Comparison } from "../src/data/records.ts";
import { shuffled } from "../src/data/split.ts";
import { exportRows } from "../src/labels/export.ts";
import { labelerQuality } from "../src/labels/labelers.ts";
import { submitJudgement as judgeTask, nextTask } from "../src/labels/labeling.ts";
import { LabelStore } from "../src/labels/store.ts";
import type { Model } from "../src/models/model.ts";
import { loadModel } from "../src/models/pull.ts";
import { gold, loadInstructions } from "../src/quickstart/task.ts";
import { reward } from "../src/stages/reward/train.ts";
import { bootstrap } from "../src/statistics/bootstrap.ts";
import { mean } from "../src/statistics/numbers.ts";
import { uniform } from "../src/statistics/random.ts";
import { encodeExample } from "../src/text/chat.ts";

const { values } = parseArgs({
  options: {
    run: { type: "string", default: "runs/quickstart" },
    seeds: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
  },
});
const kinds = [
  ...new Array<"careful">(12).fill("careful"),
  ...new Array<"careless">(6).fill("careless"),
  ...new Array<"adversarial">(2).fill("adversarial"),
];

/** A pair of answers for labelers to judge, the better one (by the checker) first, and all such pairs of its instruction. */
interface Pair {
  prompt: Comparison["prompt"];
  better: string;
  worse: string;
  all: [better: string, worse: string][];
}

/** Samples answers, and selects instructions with answers of different gold scores, in random order. */
async function pairsOf(seed: number): Promise<Pair[]> {
  const instructions = new Map(
    loadInstructions("train").map((instruction) => [instruction.prompt, instruction]),
  );
  const { records } = await readComparisons(join(values.run, "comparisons.jsonl"));
  const pairs = records.flatMap(({ prompt, completions }): Pair[] => {
    const instruction = instructions.get(prompt.at(-1)?.content ?? "");
    if (!instruction) return [];
    const scored = completions
      .map((text) => ({ text, score: gold(instruction, text, { finished: true }) }))
      .sort((a, b) => b.score - a.score);
    const [best, worst] = [scored[0], scored.at(-1)];
    return best && worst && best.score > worst.score
      ? [
          {
            prompt,
            better: best.text,
            worse: worst.text,
            all: scored.flatMap((a) =>
              scored.flatMap((b): [string, string][] => (a.score > b.score ? [[a.text, b.text]] : [])),
            ),
          },
        ]
      : [];
  });
  return shuffled(pairs.length, seed).map((i) => pairs[i] as Pair);
}

/** Lets twenty simulated labelers judge the pairs in a label store. */
async function label(pairs: readonly Pair[], seed: number) {
  const store = await LabelStore.open(":memory:");
  const owner = await store.addUser(null, { name: "owner", role: "owner" });
  const project = await store.addProject(owner.id, {
    name: "simulation",
    settings: { kind: "pairwise", overlap: 3, maxOverlap: 3, goldRate: 0, repeatRate: 0 },
  });
  const random = uniform(seed);
  await store.addTasks(
    owner.id,
    project,
    pairs.map(({ prompt, better, worse }) => ({
      messages: prompt,
      completions: (random() < 0.5 ? [better, worse] : [worse, better]).map((text) => ({ text })),
    })),
  );
  const truth = new Map(pairs.map(({ prompt, better }) => [JSON.stringify(prompt), better]));
  const people = [];
  for (const [k, kind] of kinds.entries())
    people.push({ kind, user: await store.addUser(owner.id, { name: `${kind} ${k}`, role: "labeler" }) });
  // In random order until no tasks are left: in a fixed order the same three labelers would share all tasks.
  for (const left = [...people]; left.length; ) {
    const turn = Math.floor(random() * left.length);
    const { kind, user } = left[turn] as (typeof people)[number];
    const got = await nextTask(store, project, user);
    if (!got) {
      left.splice(turn, 1);
      continue;
    }
    const isFirst = got.completions[0] === truth.get(JSON.stringify(got.messages));
    const right = { careful: random() < 0.9, careless: random() < 0.5, adversarial: random() < 0.1 }[kind];
    await judgeTask(store, got.lease, user.id, { preference: isFirst === right ? 2 : 7 }, 1);
  }
  const rows: (Comparison & { weight: number })[] = [];
  for await (const row of exportRows(store, project, "rankings")) rows.push(row as never);
  const quality = await labelerQuality(store, project);
  await store.close();
  return { rows, quality };
}

async function train(data: Comparison[], seed: number): Promise<Model> {
  const model = join(values.run, "sft");
  const settings = { epochs: 1, batchSize: 8, learningRate: 2e-5, headInit: "probe" } as const;
  const trained = await reward({ model, data, ...settings, heldOut: 0, normaliseSamples: 0, seed }).done();
  return trained.model;
}

/** Computes for each instruction the share of its pairs that the reward model orders correctly. */
function judge(model: Model, held: readonly Pair[]): number[] {
  const right = held.map(({ prompt, all }) => {
    const score = (texts: string[]) =>
      scoreAll(
        model,
        texts.map((text) => encodeExample(model.text, prompt, text)),
      );
    const [better, worse] = [score(all.map(([text]) => text)), score(all.map(([, text]) => text))];
    return mean(better.map((value, i) => Number(value > (worse[i] as number))));
  });
  model.dispose();
  return right;
}

await loadModel(join(values.run, "sft")).then((model) => model.dispose()); // before minutes are spent
const results = [];
const all: number[] = [];
for (let seed = 0; seed < Number(values.seeds); seed++) {
  const pairs = await pairsOf(seed);
  const held = pairs.slice(0, Math.floor(pairs.length * 0.4));
  const { rows, quality } = await label(pairs.slice(held.length), seed);
  console.error(
    `seed ${seed}: ${rows.length} judgements of ${pairs.length - held.length} pairs; ${held.length} held out`,
  );
  const right = async (data: Comparison[]) => judge(await train(data, seed), held);
  const plain = await right(rows.map(({ weight: _, ...row }) => row));
  const weighted = await right(rows);
  const gain = weighted.map((value, i) => value - (plain[i] as number));
  all.push(...gain);
  const weights = (kind: string) => {
    const found = quality.filter(({ user }) => user.name.startsWith(kind)).map(({ weight }) => weight);
    return `${Math.min(...found).toFixed(2)}–${Math.max(...found).toFixed(2)}`;
  };
  results.push({ seed, plain: mean(plain), weighted: mean(weighted), gain: bootstrap(gain, mean), weights });
}
const total = bootstrap(all, mean);
const interval = ({ value, low, high }: typeof total) =>
  `${value.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
if (values.json) console.log(JSON.stringify({ results, total }));
else
  console.log(
    formatTable([
      [
        "seed",
        "unweighted",
        "weighted",
        "difference [95 %]",
        ...kindsShown().map((kind) => `weights, ${kind}`),
      ],
      ...results.map(({ seed, plain, weighted, gain, weights }) => [
        ...[String(seed), plain.toFixed(3), weighted.toFixed(3), interval(gain)],
        ...kindsShown().map(weights),
      ]),
      ["all", "", "", interval(total)],
    ]),
  );

function kindsShown(): string[] {
  return [...new Set(kinds)];
}
