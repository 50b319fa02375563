import { mean } from "../math/statistics.ts";
import { type Estimate, estimate } from "./agreement.ts";
import { groupBy, type Judged, pairOf } from "./judged.ts";
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
          ...{ pair: pairOf(task, verdict), value: groupOf.get(labeler) },
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
      const of = (alike: boolean) => pairs.filter((pair) => pair.alike === alike).map(({ agree }) => agree);
      return { within: of(true), across: of(false) };
    });
    const share = (sample: typeof items, of: (item: (typeof items)[number]) => number[]): number | string => {
      const all = sample.flatMap(of);
      return all.length ? mean(all) : "no two of them judged the same";
    };
    const within = (sample: typeof items) => share(sample, (item) => item.within);
    const across = (sample: typeof items) => share(sample, (item) => item.across);
    return {
      name,
      values: [...byValue]
        .map(([value, those]) => ({
          value,
          labelers: new Set(those.map(({ labeler }) => labeler)).size,
          judgements: those.length,
        }))
        .sort((a, b) => b.judgements - a.judgements),
      within: estimate(items, (sample) => within([...sample])),
      across: estimate(items, (sample) => across([...sample])),
      difference: estimate(items, (sample) => {
        const [a, b] = [within([...sample]), across([...sample])];
        return typeof a === "string" ? a : typeof b === "string" ? b : a - b;
      }),
    };
  });
}
