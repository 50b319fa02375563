import { type Command, Option } from "commander";
import { InputError } from "../data/errors.ts";
import { type BenchmarkOptions, runIfeval } from "./eval-benchmark.ts";
import { type BestOfNOptions, evaluateBestOfN } from "./eval-best-of-n.ts";
import { evaluatePolicies, type PoliciesOptions } from "./eval-policies.ts";
import { evaluateReward, type RewardOptions } from "./eval-reward.ts";
import { columnsOption, dtypeOption, numeric } from "./options.ts";

export const define = (command: Command): Command =>
  command
    .argument(
      "[policies...]",
      "models to compare: names, Hub ids, folders or runs; the first is the baseline",
    )
    .option(
      "--data <file>",
      "prompts to answer; without policies: comparisons, on which the reward's accuracy is measured",
    )
    .addOption(columnsOption())
    .option(
      "--reward <what>",
      "judge: a reward model, a .js or .ts file, or a URL; the higher score is better",
    )
    .option("--judge <name>", "judge: a model that reads both answers, in both orders")
    .option("--constitution <file>", "principles by which --judge judges; each is a criterion")
    .option("--endpoint <url>", "OpenAI-compatible server that has the judge (key: OPENAI_API_KEY)")
    .option(
      "--labels <store>",
      "judge: people, by tasks in this label store (an SQLite file, or a Postgres address); the same command reads their judgements, and needs --out",
    )
    .option("--project <name>", "project of --labels for the tasks (default: one of this evaluation)")
    .option(
      "--best-of <n>",
      "of one policy: what choosing the best of up to n answers by --reward brings",
      numeric(1, true),
    )
    .option("--gold <what>", "with --best-of: reward by which the chosen answers are measured")
    .option("--reference <name>", "model to measure each policy's KL to, and its answers' perplexity under")
    .option(
      "--demonstrations <file>",
      "held-out demonstrations: what learning from preferences cost (the alignment tax)",
    )
    .option(
      "--category <field>",
      "field of the comparisons by which accuracy is counted (default: subset or category)",
    )
    .option("--limit <n>", "the first prompts or comparisons only", numeric(1, true))
    .option("--samples <n>", "answers of each policy to each prompt", numeric(1, true), 1)
    .addOption(
      new Option(
        "--benchmark <name>",
        "ifeval: instructions whose following a program checks; --data: its prompts as JSON lines (default: from the Hugging Face Hub)",
      ).choices(["ifeval"]),
    )
    .option("--model <name>", "model that answers the benchmark: name, Hub id, folder, GGUF file or run")
    .option(
      "--responses <file>",
      "answers to the benchmark made elsewhere: its JSON lines with a response each",
    )
    .option(
      "--max-tokens <n>",
      "maximum tokens of an answer (default: 256; of a benchmark 1280)",
      numeric(1, true),
    )
    .option(
      "--temperature <t>",
      "sampling temperature; 0 takes the most likely token (default: 1; of a benchmark 0)",
      numeric(0),
    )
    .option("--seed <n>", "random seed of the sampling", numeric(0, true), 0)
    .option("--batch-size <n>", "answers decoded together", numeric(1, true), 32)
    .addOption(dtypeOption())
    .option(
      "--out <path>",
      "of policies: folder of answers, which are not sampled again, verdicts, report.json and report.html; else a JSONL file of answers with their verdicts",
    )
    .option("--json", "print the result as JSON")
    .action(evaluate);

type Options = Partial<PoliciesOptions & BenchmarkOptions & RewardOptions & BestOfNOptions>;

/** Runs the evaluation that the options ask for. */
async function evaluate(policies: string[], options: Options): Promise<void> {
  if (options.bestOf !== undefined) return evaluateBestOfN(policies, options as BestOfNOptions);
  if (options.gold !== undefined) throw new InputError("eval: --gold measures what --best-of chooses");
  if (options.benchmark === undefined && !policies.length && options.reward && options.data)
    return evaluateReward(options as RewardOptions);
  if (options.benchmark === undefined) return evaluatePolicies(policies, options as PoliciesOptions);
  if (policies.length)
    throw new InputError("eval: a benchmark takes one model: name it by --model, not as an argument");
  return runIfeval(options as BenchmarkOptions);
}
