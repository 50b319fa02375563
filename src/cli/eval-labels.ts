import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import type { Prompt } from "../data/records.ts";
import { shuffled } from "../data/split.ts";
import type { AnswerMatch, MatchVerdict } from "../eval/policies.ts";
import type { AnswerPair, Comparisons, PairVerdict } from "../labels/comparisons.ts";
import { mean } from "../statistics/numbers.ts";
import { type EvaluationFolder, readJson, writeJson } from "./eval-folder.ts";

/** How far people are with the tasks of an evaluation. */
export interface LabelProgress {
  /** Where the store is, without a password. */
  store: string;
  project: string;
  tasks: number;
  /** Tasks with a judgement that counts. */
  judged: number;
  /** Tasks with all judgements that the project asks for. */
  complete: number;
  judgements: number;
}

export interface PeopleVerdicts {
  /** The matches that are judged; those of equal answers are ties without a judge. */
  matches: AnswerMatch[];
  verdicts: MatchVerdict[];
  progress: LabelProgress;
  /** Labelers whose judgements count nothing, and why. */
  warnings: string[];
}

/** Number of tasks that an evaluation has added to label stores, by their source. */
const requestsSchema = z.record(z.string(), z.int());

/**
 * Lets people judge matches: adds a task for each to a label store, in random order, and reads back what is judged of tasks
 * that were added before.
 * @param options.project project to add them to. Default: one of this evaluation, whose name tells no policy
 * @throws InputError if all answers are equal, or the tasks that were added are not in the store
 */
export async function judgeByPeople(
  folder: EvaluationFolder,
  prompts: readonly Prompt[],
  matches: readonly AnswerMatch[],
  { labels, project: projectName }: { labels: string; project?: string | undefined },
): Promise<PeopleVerdicts> {
  const [{ readComparisons, requestComparisons }, { withoutPassword }, { describeUncounted }, { withStore }] =
    await Promise.all([
      import("../labels/comparisons.ts"),
      import("../labels/database.ts"),
      import("../labels/uncounted.ts"),
      import("./store.ts"),
    ]);
  const differing = matches.filter(isDifferent);
  if (!differing.length)
    throw new InputError("eval: all answers of the policies are equal: there is nothing to judge");
  const tasks = shuffled(differing.length, 0).map((place) => differing[place] as AnswerMatch);
  const source = `evaluation ${folder.id} ${hashMatches(matches)}`;
  const requestsFile = folder.at("label-tasks.json");
  const requests = existsSync(requestsFile) ? readJson(requestsFile, requestsSchema) : {};
  const isNew = requests[source] === undefined;
  return withStore(
    labels,
    async (store) => {
      let comparisons = await readComparisons(store, source);
      if (!comparisons && !isNew)
        throw new InputError(
          `${withoutPassword(labels)}: this label store has none of the ${requests[source]} tasks that ${folder.path} added: name the store that has them, or another folder with --out`,
        );
      // Tasks that are there although no file says so are of a command that was killed after it added them.
      if (!comparisons) {
        const target = { project: projectName ?? `Evaluation ${folder.id.slice(0, 8)}`, source };
        await requestComparisons(store, target, toPairs(prompts, tasks));
        comparisons = (await readComparisons(store, source)) as Comparisons;
      }
      if (isNew) writeJson(requestsFile, { ...requests, [source]: tasks.length });
      const { project, verdicts, complete, judgements } = comparisons;
      const judged = tasks.flatMap((match, i) => {
        const verdict = verdicts[i];
        return verdict ? [{ match, verdict }] : [];
      });
      const counts = { tasks: tasks.length, judged: judged.length, complete, judgements };
      return {
        ...withTies(judged, tasks.length, matches),
        progress: { store: withoutPassword(labels), project: project.name, ...counts },
        warnings: await describeUncounted(store, project),
      };
    },
    isNew,
  );
}

const toPairs = (prompts: readonly Prompt[], matches: readonly AnswerMatch[]): AnswerPair[] =>
  matches.map(({ first, second }) => ({
    messages: (prompts[first.answer.promptIndex] as Prompt).prompt,
    answers: [
      { text: first.answer.text, model: first.policy },
      { text: second.answer.text, model: second.policy },
    ],
  }));

/**
 * Adds the matches of equal answers to those that are judged, as ties; weights of the judged have the mean 1.
 * @param tasks number of matches that people are to judge
 */
function withTies(
  judged: readonly { match: AnswerMatch; verdict: PairVerdict }[],
  tasks: number,
  all: readonly AnswerMatch[],
): Pick<PeopleVerdicts, "matches" | "verdicts"> {
  if (!judged.length) return { matches: [], verdicts: [] };
  const ties = all.filter((match) => !isDifferent(match));
  const scale = 1 / mean(judged.map(({ verdict }) => verdict.weight));
  return {
    matches: [...judged.map(({ match }) => match), ...ties],
    verdicts: [
      ...judged.map(({ verdict }) => ({ ...verdict, weight: scale * verdict.weight })),
      // In proportion to the judged share of the others, so that ties do not outweigh them while some are missing.
      ...ties.map(() => ({ outcome: 0.5, weight: judged.length / tasks })),
    ],
  };
}

const isDifferent = ({ first, second }: AnswerMatch): boolean => first.answer.text !== second.answer.text;

/** Identifies matches by their policies and answers. */
const hashMatches = (matches: readonly AnswerMatch[]): string =>
  createHash("sha256")
    .update(
      JSON.stringify(
        matches.map(({ first, second }) => [
          first.policy,
          first.answer.text,
          second.policy,
          second.answer.text,
        ]),
      ),
    )
    .digest("hex")
    .slice(0, 16);

/** Describes what is missing, and where to label it. */
export function describeProgress({
  store,
  project,
  tasks,
  judged,
  complete,
  judgements,
}: LabelProgress): string {
  const counts = `${judged} of ${tasks} tasks are judged; ${complete} have all judgements that the project asks for. Judgements in all: ${judgements}.`;
  if (complete === tasks) return counts;
  return [
    counts,
    `Tasks to judge are in the project "${project}": start the label app with`,
    `  plumbline serve --store ${store}`,
    "and run this command again at any time for the result so far.",
  ].join("\n");
}
