import { agreementByGroup, type GroupAgreement } from "../statistics/group-agreement.ts";
import { groupBy } from "../statistics/groups.ts";
import { type Judgement, pairKey } from "./judgements.ts";
import type { User } from "./records.ts";

export interface Cohort extends GroupAgreement {
  /** The attribute that labelers are grouped by: language, region, experience… */
  name: string;
  /** Labelers and judgements of each value of the attribute, most judgements first. */
  values: { value: string; labelers: number; judgements: number }[];
}

/**
 * Describes the labelers by each cohort attribute, and measures whether labelers of one group agree more with each
 * other than with those of other groups.
 * @param judgements those that count towards the overlap: see `countedJudgements`
 */
export function cohortAgreement(judgements: readonly Judgement[], users: readonly User[]): Cohort[] {
  const names = [...new Set(users.flatMap(({ cohort }) => Object.keys(cohort)))].sort();
  return names.map((name) => {
    const groupOf = new Map(
      users.flatMap(({ id, cohort }) => (cohort[name] === undefined ? [] : [[id, cohort[name]] as const])),
    );
    const grouped = judgements.filter(({ labeler }) => groupOf.has(labeler));
    const byValue = groupBy(grouped, ({ labeler }) => groupOf.get(labeler) as string);
    const comparisons = groupBy(
      grouped.flatMap(({ task, labeler, preferences }) =>
        preferences.map((preference) => ({
          task,
          pair: pairKey(task, preference),
          group: groupOf.get(labeler) as string,
          answer: Math.sign(preference.margin),
        })),
      ),
      ({ pair }) => pair,
    );
    return {
      name,
      values: [...byValue]
        .map(([value, members]) => ({
          value,
          labelers: new Set(members.map(({ labeler }) => labeler)).size,
          judgements: members.length,
        }))
        .sort((a, b) => b.judgements - a.judgements),
      ...agreementByGroup(
        [...comparisons.values()].map((ratings) => ({ cluster: ratings[0]?.task, ratings })),
      ),
    };
  });
}
