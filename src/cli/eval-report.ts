import type { Prompt } from "../data/records.ts";
import type { AnswerMatch, MatchVerdict, PoliciesReport, Policy, PolicyResult } from "../eval/policies.ts";
import type { Cell, Report } from "../run/report/render.ts";
import { formatInterval, type Interval } from "../statistics/bootstrap.ts";
import { groupBy } from "../statistics/groups.ts";
import type { LabelProgress } from "./eval-labels.ts";
import { formatTable } from "./terminal.ts";

// The result of an evaluation of policies, on the terminal and as a page.

/** What judges say of the answers of policies. */
export interface JudgedPolicies {
  /** Name of the judge. */
  judge: string;
  prompts: readonly Prompt[];
  policies: readonly Policy[];
  matches: readonly AnswerMatch[];
  verdicts: readonly MatchVerdict[];
  /** How far people are, if they judge. */
  progress?: LabelProgress;
}

const percent = (share: number) => `${Math.round(100 * share)} %`;

/** A column of the table of policies: its name, and a policy's value with its digits. */
type Column = readonly [
  name: string,
  value: (policy: PolicyResult) => Interval | string | undefined,
  digits?: number,
];

/** Columns of the table of policies. A column whose values are all missing is left out. */
const allColumns: readonly Column[] = [
  ["wins", ({ winRate }) => winRate],
  ["at equal length", ({ lengthControlled }) => lengthControlled],
  ["rating", ({ rating }) => rating],
  ["at equal style", ({ ratingAtEqualStyle }) => ratingAtEqualStyle],
  ["tokens", ({ tokens }) => tokens, 1],
  ["finished", ({ finished }) => percent(finished)],
  ["KL, nats", ({ kl }) => kl, 2],
  ["perplexity", ({ perplexity }) => perplexity, 1],
  ["refuses harmless", ({ refusals }) => refusals?.ofHarmless],
  ["answers harmful", ({ refusals }) => refusals?.answersToHarmful],
  ["loss", ({ loss }) => loss?.value],
  ["tax", ({ loss }) => loss?.tax],
];

/** Lays out policies as a table whose cells are made by `cell`. @returns the names of its columns, and its rows */
function tableOf<T>(
  { policies }: PoliciesReport,
  cell: (value: Interval | string | undefined, digits: number) => T,
): { columns: string[]; rows: (string | T)[][] } {
  const columns = allColumns.filter(([, value]) => policies.some((policy) => value(policy) !== undefined));
  return {
    columns: ["policy", ...columns.map(([name]) => name)],
    rows: policies.map((policy) => [
      policy.name,
      ...columns.map(([, value, digits = 3]) => cell(value(policy), digits)),
    ]),
  };
}

const toText = (value: Interval | string | undefined, digits = 3): string =>
  typeof value === "object" ? formatInterval(value, digits) : (value ?? "");

/** Makes a cell of a page's table. */
export const toCell = (value: Interval | string | undefined, digits = 3): Cell => {
  if (typeof value !== "object") return value ?? "";
  const [number = "", interval = ""] = formatInterval(value, digits).split(/ (?=\[)/);
  return { value: number, interval };
};

/** Lays out win rates by criterion. @returns nothing unless there are two criteria or more */
function criteriaTable<T>(
  { policies, criteria }: PoliciesReport,
  cell: (value: Interval | undefined) => T,
): { columns: string[]; rows: (string | T)[][] } | undefined {
  const names = Object.entries(criteria);
  if (names.length < 2) return undefined;
  const others = policies.slice(1).map(({ name }) => name);
  return {
    columns: ["wins by criterion", ...others],
    rows: names.map(([criterion, rates]) => [criterion, ...others.map((name) => cell(rates[name]))]),
  };
}

const winsNote = ({ baseline, prompts }: PoliciesReport): string =>
  `wins: share of its answers that are better than those of ${baseline}, on ${prompts} prompts; intervals are 95 %, over prompts.`;

const consistencyNote = ({ consistency }: PoliciesReport): string[] =>
  consistency === undefined
    ? []
    : [`The judge says the same in both orders of the answers on ${percent(consistency)} of the pairs.`];

const conclusions = ({ policies, baseline }: PoliciesReport): string[] =>
  policies.slice(1).map(({ name, winRate }) => conclude(name, baseline, winRate));

/** Formats the result for the terminal. */
export function formatReport(report: PoliciesReport): string {
  const { columns, rows } = tableOf(report, toText);
  const byCriterion = criteriaTable(report, toText);
  return [
    formatTable([columns, ...rows]),
    `\n${winsNote(report)}`,
    ...(byCriterion ? [`\n${formatTable([byCriterion.columns, ...byCriterion.rows])}`] : []),
    ...consistencyNote(report).map((note) => `\n${note}`),
    "",
    ...conclusions(report),
  ].join("\n");
}

/** Says in a sentence what a win rate shows. */
function conclude(name: string, baseline: string, winRate: Interval | undefined): string {
  if (!winRate) return `${name}: no pair with ${baseline} is judged yet.`;
  const { low, high } = winRate;
  if (Number.isNaN(low)) return `${name}: too few prompts to say.`;
  if (low > 0.5) return `${name} is better than ${baseline} by this judge.`;
  if (high < 0.5) return `${name} is worse than ${baseline} by this judge.`;
  return `${name}: no difference from ${baseline} is shown; the interval holds one half. More prompts narrow it: four times as many halve it.`;
}

/** Prompts whose answers the page shows. */
const shownPrompts = 20;

/** Makes the page of the result: its tables, and answers side by side. */
export function policiesPage(report: PoliciesReport, judged: JudgedPolicies): Report {
  const { judge, progress } = judged;
  const byCriterion = criteriaTable(report, toCell);
  return {
    title: "Evaluation",
    subtitle: conclusions(report).join(" "),
    facts: [
      { label: "judge", value: judge },
      { label: "prompts", value: String(report.prompts) },
      { label: "pairs judged", value: String(report.matches) },
      ...(progress
        ? [
            { label: "tasks judged by people", value: `${progress.judged} of ${progress.tasks}` },
            { label: "judgements", value: String(progress.judgements) },
          ]
        : []),
    ],
    tables: [
      {
        title: "Policies",
        note: [winsNote(report), ...consistencyNote(report)].join(" "),
        ...tableOf(report, toCell),
      },
      ...(byCriterion ? [{ title: "By criterion", ...byCriterion }] : []),
    ],
    charts: [],
    samples: [
      {
        title: "Answers",
        note: `The first answer of each policy to the first ${shownPrompts} prompts at most. Marked: better than ${report.baseline}'s by the judge, or worse.`,
        items: answerItems(report.baseline, judged),
      },
    ],
  };
}

/** Sets the policies' first answers to each prompt side by side, with the judge's verdict on them. */
function answerItems(
  baseline: string,
  { prompts, policies, matches, verdicts }: JudgedPolicies,
): Report["samples"][number]["items"] {
  const outcomes = new Map(
    matches.flatMap(({ first, second }, i) =>
      first.policy === baseline ? [[second.answer, 1 - (verdicts[i] as MatchVerdict).outcome] as const] : [],
    ),
  );
  const answers = policies.map(({ answers }) => groupBy(answers, ({ promptIndex }) => promptIndex));
  return prompts.slice(0, shownPrompts).map(({ prompt }, promptIndex) => ({
    prompt: prompt.at(-1)?.content ?? "",
    answers: policies.flatMap(({ name }, i) => {
      const answer = answers[i]?.get(promptIndex)?.[0];
      if (!answer) return [];
      const outcome = outcomes.get(answer);
      return [{ name, text: answer.text, ...describeOutcome(outcome) }];
    }),
  }));
}

/** @param outcome preference for the answer over the baseline's, from 0 to 1; undefined if it was not judged */
function describeOutcome(outcome: number | undefined): { note?: string; good?: boolean } {
  if (outcome === undefined) return {};
  if (outcome === 0.5) return { note: "a tie" };
  return outcome > 0.5 ? { note: "better", good: true } : { note: "worse", good: false };
}
