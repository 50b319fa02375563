import { trainingWeight } from "../statistics/reliability.ts";
import { readJudgements } from "./judgements.ts";
import type { Project } from "./records.ts";
import type { LabelStore } from "./store.ts";
import { labelerReliabilities } from "./weights.ts";

/** Describes the labelers whose judgements count nothing in training, in a sentence each: how many judgements, and why. */
export async function describeUncounted(store: LabelStore, project: Project): Promise<string[]> {
  const all = await readJudgements(store, project.id);
  const names = new Map((await store.users()).map(({ id, name }) => [id, name]));
  return [...labelerReliabilities(all)].flatMap(([labeler, reliability]) => {
    if (trainingWeight(reliability) > 0) return [];
    const count = all.filter((judgement) => judgement.labeler === labeler).length;
    const share = Math.round(100 * reliability.accuracy);
    return [
      `the ${count} judgements of ${names.get(labeler) ?? labeler} have the weight 0: they prefer the better answer in ${share} % of pairs, judging by others and by known answers, which is no more than chance`,
    ];
  });
}
