import { readConstitution } from "../constitution/constitution.ts";
import type { Feedback } from "../constitution/feedback.ts";
import { openFeedback } from "../constitution/open-feedback.ts";
import { InputError } from "../data/errors.ts";
import { writeAtomic, writeJsonl } from "../data/jsonl.ts";
import { readDemonstrations, readPrompts } from "../data/readers.ts";
import type { Prompt } from "../data/records.ts";
import type { Columns } from "../data/tables.ts";
import { type Judge, modelJudge, rewardJudge } from "../eval/judge.ts";
import { type AnswerMatch, matchesOf, type Policy, reportOn, withPromptCriteria } from "../eval/policies.ts";
import { isHarmful, markRefusals } from "../eval/refusals.ts";
import { openReward } from "../rewards/open.ts";
import { renderReport } from "../run/report/render.ts";
import { answerDefaults, answersOf } from "./eval-answers.ts";
import { EvaluationFolder, type EvaluationSettings, hashPrompts, writeJson } from "./eval-folder.ts";
import { describeProgress, judgeByPeople } from "./eval-labels.ts";
import { formatReport, type JudgedPolicies, policiesPage } from "./eval-report.ts";
import type { AnswerOptions } from "./options.ts";
import { interruptSignal, Progress, print } from "./terminal.ts";

export interface PoliciesOptions extends AnswerOptions {
  data?: string;
  columns?: Columns;
  reward?: string;
  judge?: string;
  constitution?: string;
  endpoint?: string;
  labels?: string;
  project?: string;
  reference?: string;
  demonstrations?: string;
  limit?: number;
  samples: number;
}

/** Lets policies answer the same prompts, and a judge compare the answers. */
export async function evaluatePolicies(names: readonly string[], options: PoliciesOptions): Promise<void> {
  const prompts = await readPolicyPrompts(names, options);
  const progress = new Progress(false);
  const signal = interruptSignal("\nstopping\n");
  // Before the answers, which take long.
  const { judge, feedback, dispose } = await openJudge(options);
  const folder =
    options.out === undefined ? undefined : new EvaluationFolder(options.out, settingsOf(prompts, options));
  const policies = await answersOfAll(names, prompts, folder, { ...options, signal, progress });
  const marked = await markRefusals(policies, prompts, feedback, { signal });
  const matches = matchesOf(marked);
  if (options.labels !== undefined) {
    const { labels, project } = options;
    const people = await judgeByPeople(folder as EvaluationFolder, prompts, matches, { labels, project });
    for (const warning of people.warnings) console.error(`warning: ${warning}`);
    return finish({ judge: "people", prompts, policies: marked, folder, ...people }, options);
  }
  progress.line(`judging ${matches.length} pairs of answers`);
  const verdicts = await judge(prompts, matches, {
    signal,
    onProgress: (done, total) => progress.count(done, total, "judged"),
  });
  dispose();
  const name = options.reward ?? (options.judge as string);
  finish({ judge: name, prompts, policies: marked, folder, matches, verdicts }, options);
}

/** Checks the options and reads the prompts. @throws InputError for options that do not fit, or marks that are not valid */
async function readPolicyPrompts(
  names: readonly string[],
  { data, columns, limit, reference, temperature, labels, out, project }: PoliciesOptions,
): Promise<Prompt[]> {
  if (names.length < 2)
    throw new InputError(
      "eval: name two policies or more to compare, one with --best-of, or a benchmark with --benchmark",
    );
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new InputError(`eval: ${twice} is named twice`);
  if (data === undefined) throw new InputError("eval: give the prompts with --data");
  if (reference !== undefined && temperature === 0)
    throw new InputError("eval: KL to --reference needs a --temperature above 0");
  if (labels !== undefined && out === undefined)
    throw new InputError("eval: --labels needs --out FOLDER, which has the answers until they are judged");
  if (project !== undefined && labels === undefined)
    throw new InputError("eval: --project is a project of --labels, a label store");
  const { records } = await readPrompts(data, columns);
  const prompts = records.slice(0, limit);
  prompts.forEach(isHarmful);
  return prompts;
}

/** Settings that the answers depend on. */
const settingsOf = (
  prompts: readonly Prompt[],
  { samples, seed, reference, demonstrations, dtype, ...options }: PoliciesOptions,
): EvaluationSettings =>
  Object.fromEntries(
    Object.entries({
      prompts: hashPrompts(prompts),
      samples,
      maxTokens: options.maxTokens ?? answerDefaults.maxTokens,
      temperature: options.temperature ?? answerDefaults.temperature,
      seed,
      reference,
      demonstrations,
      dtype,
    }).filter((entry): entry is [string, string | number] => entry[1] !== undefined),
  );

/** Lets each policy answer that has no answers in the folder. */
async function answersOfAll(
  names: readonly string[],
  prompts: readonly Prompt[],
  folder: EvaluationFolder | undefined,
  { demonstrations: path, ...options }: PoliciesOptions & { signal: AbortSignal; progress: Progress },
): Promise<Policy[]> {
  const demonstrations = path === undefined ? [] : (await readDemonstrations(path)).records;
  const policies: Policy[] = [];
  for (const name of names) {
    const before = folder?.policy(name);
    if (!before) options.progress.line(`${name} answers ${prompts.length} prompts`);
    const policy = before ?? (await answersOf(name, prompts, { ...options, demonstrations }));
    if (!before) folder?.savePolicy(policy);
    policies.push(policy);
  }
  return policies;
}

/** Writes and prints the result; how far people are, while nothing is judged. */
function finish(
  { folder, ...judged }: JudgedPolicies & { folder: EvaluationFolder | undefined },
  { json }: PoliciesOptions,
): void {
  const { prompts, policies, matches, progress: labels } = judged;
  const verdicts = withPromptCriteria(prompts, matches, judged.verdicts);
  const report = matches.length ? reportOn(policies, matches, verdicts) : undefined;
  if (folder && report) {
    writeJsonl(
      folder.at("pairs.jsonl"),
      matches.map((match, i) => ({ ...toRow(prompts, match), ...verdicts[i] })),
    );
    writeJson(folder.at("report.json"), { ...report, ...(labels && { labels }) });
    writeAtomic(folder.at("report.html"), (write) =>
      write(renderReport(policiesPage(report, { ...judged, verdicts }))),
    );
  }
  if (json) print(JSON.stringify({ ...report, ...(labels && { labels }) }));
  else {
    if (labels) print(`${describeProgress(labels)}\n`);
    if (report) print(formatReport(report));
  }
}

/** A line of the pairs. */
const toRow = (prompts: readonly Prompt[], { first, second }: AnswerMatch) => ({
  prompt: prompts[first.answer.promptIndex]?.prompt,
  completions: [first.answer.text, second.answer.text],
  policies: [first.policy, second.policy],
});

interface OpenJudge {
  judge: Judge;
  /** The model that judges, which says what refuses too. */
  feedback?: Feedback;
  /** Frees the judge's models. */
  dispose: () => void;
}

/**
 * Opens the judge.
 * @throws InputError unless there is one, or for principles that are missing; RemoteError if a server's does not answer
 */
async function openJudge({
  reward,
  judge,
  labels,
  constitution,
  endpoint,
  dtype,
}: PoliciesOptions): Promise<OpenJudge> {
  if ([reward, judge, labels].filter((given) => given !== undefined).length !== 1)
    throw new InputError("eval: give one judge: --reward, --judge with --constitution, or --labels");
  if (labels !== undefined) return { judge: async () => [], dispose: () => {} };
  if (reward !== undefined) {
    const scorer = await openReward(reward, dtype ? { dtype } : {});
    return { judge: rewardJudge(scorer), dispose: () => scorer.dispose() };
  }
  if (constitution === undefined)
    throw new InputError("eval: --judge needs principles to judge by: --constitution FILE");
  const principles = readConstitution(constitution);
  const [feedback, dispose] = await openFeedback(judge as string, endpoint, dtype ? { dtype } : {});
  // A server that is not there, or refuses the key, is to be known before the answers, which take long.
  if (endpoint !== undefined)
    await feedback.logOdds([[{ role: "user", content: "Reply with A or B." }]], "The answer is (");
  return { judge: modelJudge(feedback, principles), feedback, dispose };
}
