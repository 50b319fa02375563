import { agreementByGroup, type GroupAgreement } from "../statistics/group-agreement.ts";
import { groupBy } from "../statistics/groups.ts";
import { type Judged, pairOf } from "./judgements.ts";
import type { User } from "./records.ts";

export interface Cohort extends GroupAgreement {
  /** What labelers are compared by: language, region, experience… */
  name: string;
  /** The pool: labelers and judgements of each value, the largest first. */
  values: { value: string; labelers: number; judgements: number }[];
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
    const comparisons = groupBy(
      known.flatMap(({ task, labeler, verdicts }) =>
        verdicts.map((verdict) => ({
          pair: pairOf(task, verdict),
          group: groupOf.get(labeler) as string,
          answer: Math.sign(verdict.preferred),
        })),
      ),
      ({ pair }) => pair,
    );
    return {
      name,
      values: [...byValue]
        .map(([value, those]) => ({
          value,
          labelers: new Set(those.map(({ labeler }) => labeler)).size,
          judgements: those.length,
        }))
        .sort((a, b) => b.judgements - a.judgements),
      ...agreementByGroup([...comparisons.values()]),
    };
  });
}
