import { pairReliability, places, type Vote, weightOf } from "../statistics/reliability.ts";
import { counted, isRight, type Judged, pairOf } from "./judgements.ts";

/**
 * Reliability of each labeler who compared anything: the probability of preferring the better one, from what the others
 * say of the same completions, and from known answers.
 */
export function reliabilities(all: readonly Judged[]): ReadonlyMap<string, number> {
  const golden = all.filter(({ gold, verdicts }) => gold && verdicts.length);
  const open = counted(all).filter(({ verdicts }) => verdicts.length);
  const labelers = places([...open, ...golden].map(({ labeler }) => labeler));
  const pairs = places(
    open.flatMap(({ task, verdicts }) => verdicts.map((verdict) => pairOf(task, verdict))),
  );
  const votes = open.flatMap(({ task, labeler, order, verdicts }) =>
    verdicts.map(
      (verdict): Vote => ({
        pair: pairs.get(pairOf(task, verdict)) as number,
        labeler: labelers.get(labeler) as number,
        firstLeft: order.indexOf(verdict.first) < order.indexOf(verdict.second),
        first: (Math.sign(verdict.preferred) + 1) / 2,
      }),
    ),
  );
  const known = [...labelers.keys()].map((name) => {
    const own = golden.filter(({ labeler }) => labeler === name);
    const right = own.filter(isRight).length;
    return { right, wrong: own.length - right };
  });
  const { accuracy } = pairReliability(votes, pairs.size, known);
  return new Map([...labelers].map(([name, place]) => [name, accuracy[place] as number]));
}

/** What each labeler's judgements count in training. */
export const labelerWeights = (all: readonly Judged[]): ReadonlyMap<string, number> =>
  new Map([...reliabilities(all)].map(([labeler, accuracy]) => [labeler, weightOf(accuracy)]));
