import { agreementByGroup, type GroupAgreement } from "../statistics/group-agreement.ts";
import { groupBy } from "../statistics/groups.ts";
import type { Judgement } from "./judgements.ts";
import { preferencesByPair, signOf } from "./labeler-preferences.ts";
import type { User } from "./records.ts";

export interface Cohort extends GroupAgreement {
  /** The attribute that labelers are grouped by: language, region, experience… */
  name: string;
  /** Labelers and judgements of each value of the attribute, most judgements first. */
  values: { value: string; labelers: number; judgements: number }[];
}

/**
 * Describes the labelers by each cohort attribute, and measures whether labelers of one group agree more with each
 * other than with those of other groups: see `agreementByGroup`.
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
    const comparisons = [...preferencesByPair(grouped).values()].map((preferences) => ({
      cluster: preferences[0]?.task,
      ratings: preferences.map(({ labeler, category }) => ({
        rater: labeler,
        group: groupOf.get(labeler) as string,
        answer: category,
        sign: signOf(category),
      })),
    }));
    return {
      name,
      values: [...byValue]
        .map(([value, members]) => ({
          value,
          labelers: new Set(members.map(({ labeler }) => labeler)).size,
          judgements: members.length,
        }))
        .sort((a, b) => b.judgements - a.judgements),
      ...agreementByGroup(comparisons),
    };
  });
}
