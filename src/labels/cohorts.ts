import { type Estimate, estimate, meanOf, type Total, totalOf } from "../statistics/agreement.ts";
import { groupBy } from "../statistics/groups.ts";
import { type Judged, pairOf } from "./judged.ts";
import type { User } from "./records.ts";

export interface Cohort {
  /** What labelers are compared by: language, region, experience… */
  name: string;
  /** The pool: labelers and judgements of each value, the largest first. */
  values: { value: string; labelers: number; judgements: number }[];
  /** Share of comparisons on which two labelers of one value agree, of two values, and by how much they differ. */
  within: Estimate;
  across: Estimate;
  /** Within less across: over 0, with an interval that excludes it, where preferences differ by cohort. */
  difference: Estimate;
}

type Items = readonly { within: Total; across: Total }[];

/** Who the labelers are, and whether those who are alike prefer alike. @param open judgements that the overlap counts */
export function cohorts(open: readonly Judged[], users: readonly User[]): Cohort[] {
  const names = [...new Set(users.flatMap(({ cohort }) => Object.keys(cohort)))].sort();
  return names.map((name) => {
    const groupOf = new Map(
      users.flatMap(({ id, cohort }) => (cohort[name] === undefined ? [] : [[id, cohort[name]] as const])),
    );
    const known = open.filter(({ labeler }) => groupOf.has(labeler));
    const byValue = groupBy(known, ({ labeler }) => groupOf.get(labeler) as string);
    const said = groupBy(
      known.flatMap(({ task, labeler, verdicts }) =>
        verdicts.map((verdict) => ({
          pair: pairOf(task, verdict),
          value: groupOf.get(labeler),
          sign: Math.sign(verdict.preferred),
        })),
      ),
      ({ pair }) => pair,
    );
    /** Of each comparison, whether every two labelers agree: alike, and not. */
    const items = [...said.values()].map((those) => {
      const pairs = those.flatMap((a, i) =>
        those.slice(0, i).map((b) => ({ alike: a.value === b.value, agree: Number(a.sign === b.sign) })),
      );
      const of = (alike: boolean) =>
        totalOf(pairs.filter((pair) => pair.alike === alike).map(({ agree }) => agree));
      return { within: of(true), across: of(false) };
    });
    const share = meanOf("no two of them judged the same");
    const within = (sample: Items) => share(sample.map((item) => item.within));
    const across = (sample: Items) => share(sample.map((item) => item.across));
    return {
      name,
      values: [...byValue]
        .map(([value, those]) => ({
          value,
          labelers: new Set(those.map(({ labeler }) => labeler)).size,
          judgements: those.length,
        }))
        .sort((a, b) => b.judgements - a.judgements),
      within: estimate(items, within),
      across: estimate(items, across),
      difference: estimate(items, (sample) => {
        const [a, b] = [within(sample), across(sample)];
        return typeof a === "string" ? a : typeof b === "string" ? b : a - b;
      }),
    };
  });
}
