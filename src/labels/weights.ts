import { estimateReliability, indexByName, trainingWeight, type Vote } from "../statistics/reliability.ts";
import { countedJudgements, isCorrect, type Judgement, pairKey } from "./judgements.ts";

/**
 * Estimates the reliability of each labeler who compared anything: the probability of preferring the better completion,
 * from other labelers' judgements of the same pairs and from gold tasks.
 */
export function labelerReliabilities(all: readonly Judgement[]): ReadonlyMap<string, number> {
  const withPreferences = all.filter(({ preferences }) => preferences.length);
  const goldJudgements = withPreferences.filter(({ gold }) => gold);
  const counted = countedJudgements(withPreferences);
  const labelers = indexByName([...counted, ...goldJudgements].map(({ labeler }) => labeler));
  const pairs = indexByName(
    counted.flatMap(({ task, preferences }) => preferences.map((preference) => pairKey(task, preference))),
  );
  const votes = counted.flatMap(({ task, labeler, order, preferences }) =>
    preferences.map(
      (preference): Vote => ({
        pair: pairs.get(pairKey(task, preference)) as number,
        labeler: labelers.get(labeler) as number,
        firstShownLeft: order.indexOf(preference.first) < order.indexOf(preference.second),
        first: (Math.sign(preference.margin) + 1) / 2,
      }),
    ),
  );
  const known = [...labelers.keys()].map((name) => {
    const judgements = goldJudgements.filter(({ labeler }) => labeler === name);
    const right = judgements.filter(isCorrect).length;
    return { right, wrong: judgements.length - right };
  });
  const { accuracy } = estimateReliability(votes, pairs.size, known);
  return new Map([...labelers].map(([name, index]) => [name, accuracy[index] as number]));
}

/** Computes the weight of each labeler's judgements in training. */
export const labelerWeights = (all: readonly Judgement[]): ReadonlyMap<string, number> =>
  new Map([...labelerReliabilities(all)].map(([labeler, accuracy]) => [labeler, trainingWeight(accuracy)]));
