// Measures the gain of Constitutional AI with the local model as its own feedback model, on constraints that a program
// can check: the form of the quickstart's answers. Both phases start from a quickstart's SFT model and run by the command
// line. Supervised: answers are criticised and revised, and trained on by SFT. Preferences: the reward model's
// comparisons are judged by a principle, and trained on by DPO, with the judge's probabilities and with calibrated ones.
// `npm run bench:constitution -- [--from runs/quickstart] [--out runs/constitution] [--feedback NAME] [--prompts 256]`

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { formatTable } from "../src/cli/terminal.ts";
import type { JudgedPair } from "../src/constitution/prefer.ts";
import type { RevisedResponse } from "../src/constitution/revise.ts";
import { readJsonl, writeJsonl } from "../src/data/jsonl.ts";
import { readComparisons } from "../src/data/readers.ts";
import { openMeasurement } from "../src/quickstart/measure.ts";
import { gold, type Instruction, loadInstructions } from "../src/quickstart/task.ts";
import { bootstrap, type Interval } from "../src/statistics/bootstrap.ts";
import { mean } from "../src/statistics/numbers.ts";

const { values } = parseArgs({
  options: {
    from: { type: "string", default: "runs/quickstart" },
    out: { type: "string", default: "runs/constitution" },
    feedback: { type: "string", default: "smollm2-135m-instruct" },
    prompts: { type: "string", default: "256" },
  },
});
const at = (name: string) => join(values.out, name);
const constitution = `name: form
principles:
  - name: as asked
    critique: >-
      Point out where your last answer does not keep to what was asked about its form: its length, its language, its
      layout, words to use and words to avoid.
    revision: Write your answer again so that it keeps to all that was asked. Write the answer and nothing else.
    preference: Which answer keeps better to what was asked about its form?
`;

/** Runs a plumbline command, unless its output exists already. @returns what it printed */
function plumbline(made: string | undefined, ...args: string[]): string {
  if (made !== undefined && existsSync(at(made))) return "";
  console.error(`plumbline ${args.join(" ")}`);
  const bin = fileURLToPath(new URL("../bin/plumbline.mjs", import.meta.url));
  const done = spawnSync(process.execPath, [bin, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  if (done.status !== 0) throw new Error(`plumbline ${args[0]} ended with ${done.status}`);
  return String(done.stdout);
}

const show = ({ value, low, high }: Interval) =>
  `${value.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
const overMean = (values: readonly number[]) => show(bootstrap(values, mean));

mkdirSync(values.out, { recursive: true });
writeFileSync(at("constitution.yaml"), constitution);
const instructions = new Map(
  loadInstructions("train").map((instruction) => [instruction.prompt, instruction]),
);
const asked = [...instructions.values()].slice(0, Number(values.prompts));
writeJsonl(
  at("prompts.jsonl"),
  asked.map(({ id, prompt }) => ({ id, prompt })),
);
const people = join(values.from, "comparisons.jsonl");
const { records } = await readComparisons(people);
writeJsonl(
  at("answers.jsonl"),
  records.map(({ prompt, completions }) => ({ prompt, completions: [completions[0], completions.at(-1)] })),
);
const sft = join(values.from, "sft");
const by = ["--constitution", at("constitution.yaml"), "--max-tokens", "64"];

// The supervised phase.
plumbline(
  undefined,
  ...["constitution", "revise", ...by, "--model", sft, "--feedback", values.feedback],
  ...["--data", at("prompts.jsonl"), "--rounds", "2", "--out", at("revised")],
);
const train = ["--set", "heldOut=0", "--json"];
plumbline(
  "sft/run.json",
  ...["sft", "--model", sft, "--data", at("revised/revisions.jsonl"), "--run", at("sft"), ...train],
  ...["--set", "epochs=1", "--set", "batchSize=8", "--set", "learningRate=5e-5"],
);

// The preference phase.
const judge = [
  ...["constitution", "judge", ...by, "--model", values.feedback],
  ...["--data", at("answers.jsonl"), "--out", at("judged")],
];
const dpo = (run: string) =>
  plumbline(
    `${run}/run.json`,
    ...["dpo", "--model", sft, "--data", at("judged/comparisons.jsonl"), "--run", at(run), ...train],
    ...["--set", "epochs=1", "--set", "batchSize=8", "--set", "learningRate=2e-5"],
  );
plumbline(undefined, ...judge);
dpo("dpo");
const beside = plumbline(undefined, ...judge, "--people", people);
dpo("dpo-calibrated");

const measure = await openMeasurement(values.from);
const rows: string[][] = [["held-out answers of", "gold [95 %]", "over SFT [95 %]", "KL, nats", "tokens"]];
for (const [name, run] of [
  ["SFT on its revisions", "sft"],
  ["DPO on its preferences", "dpo"],
  ["DPO on them, calibrated", "dpo-calibrated"],
] as const) {
  const { golds, before, kl, length } = await measure(at(run));
  if (rows.length === 1) rows.push(["the quickstart's SFT model", overMean(before), "", "", ""]);
  const gain = golds.map((one, i) => one - (before[i] as number));
  rows.push([name, overMean(golds), overMean(gain), kl.toFixed(2), length.toFixed(1)]);
}

const goldOf = (prompt: RevisedResponse["prompt"], text: string) =>
  gold(instructions.get(prompt.at(-1)?.content ?? "") as Instruction, text, { finished: true });
const revised = readJsonl(at("revised/revisions.jsonl")).map(({ value }) => value as RevisedResponse);
const stages = [0, 1, 2].map((round) =>
  revised.map(({ prompt, response, rounds }) => goldOf(prompt, rounds[round - 1]?.revision ?? response)),
);
const judged = readJsonl(at("judged/judgements.jsonl")).map(({ value }) => value as JudgedPair);
const right = judged.flatMap(({ prompt, answers: [first, second], logOdds }) => {
  const difference = goldOf(prompt, first) - goldOf(prompt, second);
  return difference ? [Number(logOdds * difference > 0)] : [];
});
console.log(
  [
    `${revised.length} training instructions, answered and revised: gold [95 %]`,
    formatTable(
      stages.map((golds, round) => [
        round ? `after round ${round}` : "  first answer",
        `  ${overMean(golds)}`,
      ]),
    ),
    "",
    `${judged.length} pairs compared by ${values.feedback}: it prefers what the checker does in ${overMean(right)} of ${right.length}`,
    beside
      .trim()
      .split("\n")
      .slice(1, 3)
      .map((line) => `  ${line}`)
      .join("\n"),
    "",
    formatTable(rows),
  ].join("\n"),
);
