import { type CountAndSum, countAndSum, type Estimate, estimate, pooledMean } from "./agreement.ts";

export interface GroupAgreement {
  /** Share of items on which two raters of one group agree, of two groups, and by how much they differ. */
  within: Estimate;
  across: Estimate;
  /** Within less across: over 0, with an interval that excludes it, where answers differ by group. */
  difference: Estimate;
}

type ItemAgreement = readonly { within: CountAndSum; across: CountAndSum }[];

/** Whether raters of one group answer alike. @param ratings of each item, one a rater */
export function agreementByGroup(
  ratings: readonly (readonly { group: string; answer: number }[])[],
): GroupAgreement {
  const items = ratings.map((those) => {
    const pairs = those.flatMap((a, i) =>
      those.slice(0, i).map((b) => ({ alike: a.group === b.group, agree: Number(a.answer === b.answer) })),
    );
    const of = (alike: boolean) =>
      countAndSum(pairs.filter((pair) => pair.alike === alike).map(({ agree }) => agree));
    return { within: of(true), across: of(false) };
  });
  const share = pooledMean("no two of them judged the same");
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
