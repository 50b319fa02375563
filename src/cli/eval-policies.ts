import { tokenLogprobs } from "../batch/score.ts";
import { readConstitution } from "../constitution/constitution.ts";
import { openFeedback } from "../constitution/open-feedback.ts";
import { InputError } from "../data/errors.ts";
import { readDemonstrations, readPrompts } from "../data/readers.ts";
import type { Demonstration, Prompt } from "../data/records.ts";
import type { Columns } from "../data/tables.ts";
import { answerPrompts, inParts } from "../eval/answers.ts";
import { type Judge, modelJudge, rewardJudge } from "../eval/judge.ts";
import { type AnswerMatch, matchesOf, type PoliciesReport, type Policy, reportOn } from "../eval/policies.ts";
import { loadModel } from "../models/pull.ts";
import { openReward } from "../rewards/open.ts";
import { formatInterval, type Interval } from "../statistics/bootstrap.ts";
import { mean } from "../statistics/numbers.ts";
import { encodeExample } from "../text/chat.ts";
import type { AnswerOptions } from "./options.ts";
import { formatTable, interruptSignal, openLines, Progress, print } from "./terminal.ts";

export interface PoliciesOptions extends AnswerOptions {
  data?: string;
  columns?: Columns;
  reward?: string;
  judge?: string;
  constitution?: string;
  endpoint?: string;
  reference?: string;
  demonstrations?: string;
  limit?: number;
  samples: number;
}

/** Lets policies answer the same prompts, and a judge compare the answers. */
export async function evaluatePolicies(names: readonly string[], options: PoliciesOptions): Promise<void> {
  if (names.length < 2)
    throw new InputError("eval: name two policies or more to compare, or a benchmark with --benchmark");
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new InputError(`eval: ${twice} is named twice`);
  if (options.data === undefined) throw new InputError("eval: give the prompts with --data");
  const { records } = await readPrompts(options.data, options.columns);
  const prompts = records.slice(0, options.limit);
  const progress = new Progress(false);
  const signal = interruptSignal("\nstopping\n");
  // Before the answers, which take long.
  const [judge, dispose] = await openJudge(options);
  if (options.reference !== undefined && options.temperature === 0)
    throw new InputError("eval: KL to --reference needs a --temperature above 0");
  const { demonstrations: path } = options;
  const demonstrations = path === undefined ? [] : (await readDemonstrations(path)).records;
  const policies: Policy[] = [];
  for (const name of names) {
    progress.line(`${name} answers ${prompts.length} prompts`);
    policies.push(await answersOf(name, prompts, demonstrations, options, signal, progress));
  }
  const matches = matchesOf(policies);
  progress.line(`judging ${matches.length} pairs of answers`);
  const verdicts = await judge(prompts, matches, {
    signal,
    onProgress: (done, total) => progress.count(done, total, "judged"),
  });
  dispose();
  if (options.out !== undefined) {
    const file = openLines(options.out);
    for (const [i, match] of matches.entries()) file.write({ ...toRow(prompts, match), ...verdicts[i] });
    file.close();
  }
  const report = reportOn(policies, matches, verdicts);
  print(options.json ? JSON.stringify(report) : formatReport(report));
}

/** A line of the output. */
const toRow = (prompts: readonly Prompt[], { first, second }: AnswerMatch) => ({
  prompt: prompts[first.answer.promptIndex]?.prompt,
  completions: [first.answer.text, second.answer.text],
  policies: [first.policy, second.policy],
});

/** Opens the judge. @returns the judge, and a function that frees its models */
async function openJudge({
  reward,
  judge,
  constitution,
  endpoint,
  dtype,
}: PoliciesOptions): Promise<[Judge, dispose: () => void]> {
  if ((reward === undefined) === (judge === undefined))
    throw new InputError("eval: give one judge: --reward, or --judge with --constitution");
  if (reward !== undefined) {
    const scorer = await openReward(reward, dtype ? { dtype } : {});
    return [rewardJudge(scorer), () => scorer.dispose()];
  }
  if (constitution === undefined)
    throw new InputError("eval: --judge needs principles to judge by: --constitution FILE");
  const principles = readConstitution(constitution);
  const [feedback, dispose] = await openFeedback(judge as string, endpoint, dtype ? { dtype } : {});
  return [modelJudge(feedback, principles), dispose];
}

/** Lets a policy answer, and measures its KL to the reference and its loss on demonstrations where they are asked for. */
async function answersOf(
  name: string,
  prompts: readonly Prompt[],
  demonstrations: readonly Demonstration[],
  { samples, maxTokens = 256, temperature = 1, seed, batchSize, reference, ...options }: PoliciesOptions,
  signal: AbortSignal,
  progress: Progress,
): Promise<Policy> {
  const load = {
    ...(options.dtype ? { dtype: options.dtype } : {}),
    onProgress: (text: string) => progress.line(text),
  };
  const model = await loadModel(name, load);
  const other = reference === undefined ? undefined : await loadModel(reference, load);
  if (other && other.dimensions.vocab !== model.dimensions.vocab)
    throw new InputError(
      `eval: ${name} and the reference ${reference} have different vocabularies, so there is no KL between them`,
    );
  const answers = await answerPrompts(model, prompts, {
    ...{ samples, maxTokens, temperature, seed, batchSize, signal },
    reference: other,
    onProgress: (done, total) => progress.count(done, total, "answers"),
  });
  other?.dispose();
  const losses: number[] = [];
  const rows = demonstrations.map(({ prompt, completion }) => encodeExample(model.text, prompt, completion));
  await inParts(rows, signal, (part) =>
    losses.push(...tokenLogprobs(model, part).map((logprobs) => -mean(logprobs))),
  );
  model.dispose();
  return { name, answers, ...(losses.length > 0 && { losses }) };
}

function formatReport(report: PoliciesReport): string {
  const { baseline, policies, criteria, consistency } = report;
  const cell = (interval: Interval | undefined) => (interval ? formatInterval(interval) : "");
  const percent = (share: number) => `${Math.round(100 * share)} %`;
  const table = formatTable([
    [
      ...["policy", "wins", "at equal length", "rating", "at equal style", "tokens", "finished"],
      ...(policies[0]?.kl ? ["KL, nats"] : []),
      ...(policies[0]?.loss ? ["loss", "tax"] : []),
    ],
    ...policies.map((policy) => [
      policy.name,
      cell(policy.winRate),
      cell(policy.lengthControlled),
      cell(policy.rating),
      cell(policy.ratingAtEqualStyle),
      formatInterval(policy.tokens, 1),
      percent(policy.finished),
      ...(policy.kl ? [formatInterval(policy.kl, 2)] : []),
      ...(policy.loss ? [cell(policy.loss.value), cell(policy.loss.tax)] : []),
    ]),
  ]);
  const byCriterion = Object.entries(criteria).map(([criterion, rates]) => [
    criterion,
    ...policies.slice(1).map(({ name }) => cell(rates[name])),
  ]);
  return [
    table,
    `\nwins: share of its answers that are better than those of ${baseline}, on ${report.prompts} prompts; intervals are 95 %, over prompts.`,
    ...(byCriterion.length > 1
      ? [
          `\n${formatTable([["wins by criterion", ...policies.slice(1).map(({ name }) => name)], ...byCriterion])}`,
        ]
      : []),
    ...(consistency === undefined
      ? []
      : [`\nThe judge says the same in both orders of the answers on ${percent(consistency)} of the pairs.`]),
    "",
    ...policies.slice(1).map((policy) => conclude(policy.name, baseline, policy.winRate as Interval)),
  ].join("\n");
}

/** Says in a sentence what a win rate shows. */
function conclude(name: string, baseline: string, { low, high }: Interval): string {
  if (Number.isNaN(low)) return `${name}: too few prompts to say.`;
  if (low > 0.5) return `${name} is better than ${baseline} by this judge.`;
  if (high < 0.5) return `${name} is worse than ${baseline} by this judge.`;
  return `${name}: no difference from ${baseline} is shown; the interval holds one half. More prompts narrow it: four times as many halve it.`;
}
