import {
  type CountAndSum,
  countAndSum,
  type Estimate,
  estimate,
  estimateShare,
  pooledMean,
} from "./estimate.ts";
import { groupBy } from "./groups.ts";

export interface GroupAgreement {
  /** Share of pairs of raters from the same group who agree. */
  within: Estimate;
  /** Share of pairs of raters from different groups who agree. */
  across: Estimate;
  /** `within` − `across`. If its interval is above 0, answers differ by group. */
  difference: Estimate;
}

type ItemAgreement = readonly { within: CountAndSum; across: CountAndSum }[];

/**
 * Measures whether raters agree more within their group than across groups.
 * @param items ratings of each, one for each rater, and the cluster that it depends on with others
 */
export function agreementByGroup(
  items: readonly { cluster: unknown; ratings: readonly { group: string; answer: number }[] }[],
): GroupAgreement {
  const clusters = [...groupBy(items, ({ cluster }) => cluster).values()].map((cluster) => {
    const pairs = cluster.flatMap(({ ratings }) =>
      ratings.flatMap((a, i) =>
        ratings
          .slice(0, i)
          .map((b) => ({ isSameGroup: a.group === b.group, agree: Number(a.answer === b.answer) })),
      ),
    );
    const totals = (isSameGroup: boolean) =>
      countAndSum(pairs.filter((pair) => pair.isSameGroup === isSameGroup).map(({ agree }) => agree));
    return { within: totals(true), across: totals(false) };
  });
  const reason = "no two of them judged the same pair";
  const share = pooledMean(reason);
  const within = (sample: ItemAgreement) => share(sample.map((item) => item.within));
  const across = (sample: ItemAgreement) => share(sample.map((item) => item.across));
  return {
    within: estimateShare(
      clusters.map((cluster) => cluster.within),
      reason,
    ),
    across: estimateShare(
      clusters.map((cluster) => cluster.across),
      reason,
    ),
    difference: estimate(clusters, (sample) => {
      const [a, b] = [within(sample), across(sample)];
      return typeof a === "string" ? a : typeof b === "string" ? b : a - b;
    }),
  };
}
