import { type CountAndSum, countAndSum, type Estimate, estimate, pooledMean } from "./agreement.ts";

export interface GroupAgreement {
  /** Share of pairs of raters from the same group who agree. */
  within: Estimate;
  /** Share of pairs of raters from different groups who agree. */
  across: Estimate;
  /** `within` − `across`. If its interval is above 0, answers differ by group. */
  difference: Estimate;
}

type ItemAgreement = readonly { within: CountAndSum; across: CountAndSum }[];

/** Measures whether raters agree more within their group than across groups. @param ratings of each item, one for each rater */
export function agreementByGroup(
  ratings: readonly (readonly { group: string; answer: number }[])[],
): GroupAgreement {
  const items = ratings.map((itemRatings) => {
    const pairs = itemRatings.flatMap((a, i) =>
      itemRatings
        .slice(0, i)
        .map((b) => ({ isSameGroup: a.group === b.group, agree: Number(a.answer === b.answer) })),
    );
    const totals = (isSameGroup: boolean) =>
      countAndSum(pairs.filter((pair) => pair.isSameGroup === isSameGroup).map(({ agree }) => agree));
    return { within: totals(true), across: totals(false) };
  });
  const share = pooledMean("no two of them judged the same pair");
  const within = (sample: ItemAgreement) => share(sample.map((item) => item.within));
  const across = (sample: ItemAgreement) => share(sample.map((item) => item.across));
  return {
    within: estimate(items, within),
    across: estimate(items, across),
    difference: estimate(items, (sample) => {
      const [a, b] = [within(sample), across(sample)];
      return typeof a === "string" ? a : typeof b === "string" ? b : a - b;
    }),
  };
}
