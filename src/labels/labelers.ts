import { type Estimate, shareOf } from "../statistics/agreement.ts";
import { groupBy } from "../statistics/groups.ts";
import { weightOf } from "../statistics/reliability.ts";
import { counted, isRight, isSame, type Judged, judgements, pairOf } from "./judgements.ts";
import { disagreement, type Verdict } from "./pairwise-preferences.ts";
import type { Project, User } from "./records.ts";
import type { LabelStore } from "./store.ts";
import { reliabilities } from "./weights.ts";

export interface LabelerQuality {
  user: User;
  judgements: number;
  skipped: number;
  /** Judgements of known answers, and those that prefer as the known answer does. */
  gold: { right: number; total: number };
  /** Judgements asked for again, and those that prefer as the first did. */
  consistency: { same: number; total: number };
  /** Share of comparisons won by what was shown first, and by the longer text; 0.5 shows no bias. */
  left: Estimate;
  long: Estimate;
  /** Median of a judgement. */
  seconds?: number;
  /** Comparisons that others made too, week by week, and in how many both prefer the same. */
  agreement: { week: string; agree: number; total: number }[];
  /** See `reliability`; absent before the first comparison. */
  reliability?: number;
  /** What the labeler's judgements count in training. */
  weight: number;
}

/** How each labeler works, who has judged or may. */
export async function labelerQuality(store: LabelStore, project: Project): Promise<LabelerQuality[]> {
  const all = await judgements(store, project.id);
  const lengths = await textLengths(store, project.id);
  const others = groupBy(
    counted(all).flatMap((one) => one.verdicts.map((verdict) => ({ one, verdict }))),
    ({ one, verdict }) => pairOf(one.task, verdict),
  );
  const trusted = reliabilities(all);
  const by = groupBy(all, ({ labeler }) => labeler);
  const members = await store.db
    .selectFrom("member")
    .select("user")
    .where("project", "=", project.id)
    .execute();
  const wanted = new Set([...members.map(({ user }) => user), ...by.keys()]);
  const users = (await store.users()).filter(({ id }) => wanted.has(id));
  return users.map((user): LabelerQuality => {
    const own = by.get(user.id) ?? [];
    const strict = counted(own).flatMap((one) =>
      one.verdicts.filter(({ preferred }) => preferred !== 0).map((verdict) => ({ one, verdict })),
    );
    const golden = own.filter(({ gold, answer }) => gold && answer.skip === undefined);
    const again = own.filter(({ repeat, answer }) => repeat && answer.skip === undefined);
    const timed = own.filter(({ source, seconds }) => source === null || seconds > 0);
    const firsts = new Map(counted(own).map((one) => [one.task, one]));
    return {
      user,
      judgements: own.length,
      skipped: own.filter(({ answer }) => answer.skip !== undefined).length,
      gold: { right: golden.filter(isRight).length, total: golden.length },
      consistency: {
        same: again.filter(({ task, answer }) => {
          const first = firsts.get(task);
          return first !== undefined && isSame(first.answer, answer);
        }).length,
        total: again.length,
      },
      left: shareOf(strict.map(({ one, verdict }) => wonBy(verdict, (place) => -one.order.indexOf(place)))),
      long: shareOf(
        strict.map(({ one, verdict }) => wonBy(verdict, (place) => lengths.get(one.task)?.[place] ?? 0)),
      ),
      ...(timed.length > 0 && { seconds: median(timed.map(({ seconds }) => seconds)) }),
      agreement: byWeek(strict, others),
      ...given(trusted.get(user.id)),
    };
  });
}

/** Nothing is known of who has compared nothing. */
const given = (eta: number | undefined): Pick<LabelerQuality, "reliability" | "weight"> =>
  eta === undefined ? { weight: 1 } : { reliability: eta, weight: weightOf(eta) };

/** 1 when the one with more of something won, 0 when the other did, undefined when both have as much. */
function wonBy({ first, second, preferred }: Verdict, of: (place: number) => number): number | undefined {
  const more = of(first) - of(second);
  return more === 0 ? undefined : Number(more > 0 === preferred > 0);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle - 1)] as number) + (sorted[Math.floor(middle)] as number)) / 2;
}

type Made = { one: Judged; verdict: Verdict };

function byWeek(own: readonly Made[], others: ReadonlyMap<string, Made[]>): LabelerQuality["agreement"] {
  const weeks = groupBy(own, ({ one }) => mondayOf(one.at));
  return [...weeks].map(([week, made]) => {
    const against = made.flatMap(({ one, verdict }) =>
      (others.get(pairOf(one.task, verdict)) ?? [])
        .filter((other) => other.one.labeler !== one.labeler)
        .map((other) => Number(Math.sign(other.verdict.preferred) === Math.sign(verdict.preferred))),
    );
    return { week, agree: against.reduce((a, b) => a + b, 0), total: against.length };
  });
}

/** The date that a time's week began, in UTC. */
function mondayOf(at: number): string {
  const date = new Date(at);
  date.setUTCDate(date.getUTCDate() - ((date.getUTCDay() + 6) % 7));
  return date.toISOString().slice(0, 10);
}

/** By task, the length of each completion in characters. */
async function textLengths(store: LabelStore, project: string): Promise<ReadonlyMap<string, number[]>> {
  const rows = await store.db
    .selectFrom("completion")
    .innerJoin("task", "task.prompt", "completion.prompt")
    .select(["task.id", "completion.place", "completion.text"])
    .where("task.project", "=", project)
    .execute();
  const lengths = new Map<string, number[]>();
  for (const { id, place, text } of rows) {
    const own = lengths.get(id) ?? [];
    own[place] = (JSON.parse(text) as string).length;
    lengths.set(id, own);
  }
  return lengths;
}

/** Tasks that labelers disagree about and nobody has decided, with everything that was said of them. */
export async function disputes(store: LabelStore, project: Project) {
  const all = counted(await judgements(store, project.id));
  const decided = await store.db
    .selectFrom("adjudication")
    .select("task")
    .where("project", "=", project.id)
    .execute();
  const done = new Set(decided.map(({ task }) => task));
  const names = new Map((await store.users()).map(({ id, name }) => [id, name]));
  const open = [...groupBy(all, ({ task }) => task)].filter(
    ([task, said]) => !done.has(task) && disagreement(said.map(({ answer }) => answer)),
  );
  return Promise.all(
    open.map(async ([task, said]) => {
      const { messages, completions } = await store.content(task);
      return {
        task,
        messages,
        completions: completions.map(({ text, model }) => ({ text, model })),
        judgements: said.map(({ id, labeler, answer, seconds, at }) => ({
          id,
          labeler,
          name: names.get(labeler) ?? labeler,
          answer,
          seconds,
          at,
        })),
      };
    }),
  );
}
