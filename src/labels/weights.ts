import {
  estimateReliability,
  indexByName,
  type LabelerReliability,
  trainingWeight,
  type Vote,
} from "../statistics/reliability.ts";
import { type Judgement, pairKey } from "./judgements.ts";
import { pairwisePreferences } from "./pairwise-preferences.ts";

/**
 * Estimates the reliability of each labeler who compared anything: the probability of preferring the better completion,
 * from other labelers' judgements of the same pairs and from gold tasks. A known ranking counts pair by pair.
 */
export function labelerReliabilities(all: readonly Judgement[]): ReadonlyMap<string, LabelerReliability> {
  const compared = all.filter(
    ({ preferences, repeat, answer }) => preferences.length && !repeat && answer.skip === undefined,
  );
  const labelers = indexByName(compared.map(({ labeler }) => labeler));
  const tasks = indexByName(compared.map(({ task }) => task));
  const pairs = indexByName(
    compared.flatMap(({ task, preferences }) => preferences.map((preference) => pairKey(task, preference))),
  );
  const votes = compared.flatMap(({ task, labeler, order, preferences }) =>
    preferences.map(
      (preference): Vote => ({
        pair: pairs.get(pairKey(task, preference)) as number,
        labeler: labelers.get(labeler) as number,
        task: tasks.get(task) as number,
        firstShownLeft: order.indexOf(preference.first) < order.indexOf(preference.second),
        first: (Math.sign(preference.margin) + 1) / 2,
      }),
    ),
  );
  const known = new Map(
    compared.flatMap(({ task, gold }) =>
      (gold ? pairwisePreferences(gold) : []).flatMap((preference) => {
        const pair = pairs.get(pairKey(task, preference));
        return pair === undefined || preference.margin === 0
          ? []
          : [[pair, Number(preference.margin > 0)] as const];
      }),
    ),
  );
  const { labelers: found } = estimateReliability(
    votes,
    { pairs: pairs.size, labelers: labelers.size },
    known,
  );
  return new Map([...labelers].map(([name, index]) => [name, found[index] as LabelerReliability]));
}

/** Computes the weight of each labeler's judgements in training. */
export const labelerWeights = (all: readonly Judgement[]): ReadonlyMap<string, number> =>
  new Map(
    [...labelerReliabilities(all)].map(([labeler, reliability]) => [labeler, trainingWeight(reliability)]),
  );
