import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { call, type Quality } from "../ui/api.ts";
import { Page, ProjectNav, percent } from "../ui/page.tsx";
import { useProject } from "./queries.ts";

type Estimate = Quality["alpha"];

const twoDecimals = (value: number) => value.toFixed(2);

/** Says that a statistic is undefined, and why. */
const Undefined = ({ reason }: { reason: string | undefined }) => (
  <small className="none">none{reason ? `: ${reason}` : ""}</small>
);

/** Shows an estimate with its interval, or the reason why it is undefined. */
export function EstimateValue({ estimate: { value, reason } }: { estimate: Estimate }) {
  if (!value) return <Undefined reason={reason} />;
  return (
    <span>
      {twoDecimals(value.value)}{" "}
      <small>
        [{twoDecimals(value.low)}, {twoDecimals(value.high)}]
      </small>
    </span>
  );
}

export function QualityPage({ id }: { id: string }) {
  const params = { project: id };
  const project = useProject(id);
  const quality = useQuery({
    queryKey: ["quality", id],
    queryFn: () => call("GET /api/projects/:project/quality", { params }),
  });
  if (!project.data || !quality.data) return <Page title="Quality" error={project.error ?? quality.error} />;
  const { name, complete, tasks } = project.data;
  const { alert, pairs, worst, skipped, cohorts } = quality.data;
  return (
    <Page title="Quality" project={name}>
      <ProjectNav id={id} here="/quality" />
      <p className="facts">
        {complete} of {tasks} tasks done
      </p>
      {alert && (
        <p className="problem" role="alert">
          {alert}
        </p>
      )}
      <Agreement quality={quality.data} />
      <Cost id={id} quality={quality.data} />
      <h2>Pairs of labelers</h2>
      <Table
        label="Pairs of labelers"
        head={["labelers", "Cohen's κ", "agreement", "comparisons"]}
        rows={pairs.map(({ a, b, kappa, reason, observed, items }) => [
          <>
            <bdi>{a}</bdi>, <bdi>{b}</bdi>
          </>,
          kappa === undefined ? <Undefined key="kappa" reason={reason} /> : twoDecimals(kappa),
          percent(observed),
          String(items),
        ])}
      />
      {cohorts.length > 0 && <Cohorts cohorts={cohorts} />}
      <h2>Most disagreed about</h2>
      <Table
        label="Most disagreed about"
        head={["prompt", "disagreement"]}
        rows={worst.map(({ task, prompt, disagreement }) => [
          <Link key="prompt" href={`/projects/${id}/tasks/${task}`}>
            {prompt || "an empty prompt"}
          </Link>,
          percent(disagreement),
        ])}
      />
      {skipped.length > 0 && (
        <>
          <h2>Skipped</h2>
          <Table
            label="Skipped"
            head={["reason", "times"]}
            rows={skipped.map(({ reason, count }) => [reason, String(count)])}
          />
        </>
      )}
    </Page>
  );
}

const Agreement = ({ quality: { alpha, fleiss, tau, criteria } }: { quality: Quality }) => (
  <>
    <h2>Agreement</h2>
    <p>Agreement of labelers on the same tasks. In brackets: 95 % intervals over tasks.</p>
    <dl className="measures">
      <Statistic name="Krippendorff's α">
        <EstimateValue estimate={alpha} />
      </Statistic>
      <Statistic name="Fleiss' κ">
        <EstimateValue estimate={fleiss} />
      </Statistic>
      {(tau.value || tau.reason) && (
        <Statistic name="Kendall's τ of rankings">
          <EstimateValue estimate={tau} />
        </Statistic>
      )}
      {criteria.map(({ name, alpha }) => (
        <Statistic key={name} name={`α of ${name}`}>
          <EstimateValue estimate={alpha} />
        </Statistic>
      ))}
    </dl>
  </>
);

function Cost({ id, quality }: { id: string; quality: Quality }) {
  const { judgements, spent, usable, costPerUsable, currency, forecast } = quality;
  const money = (sum: number) => {
    const digits = Number.isInteger(sum) ? 0 : 2;
    const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    return `${currency}${sum.toLocaleString("en", options)}`;
  };
  return (
    <>
      <h2>Money</h2>
      <dl className="measures">
        <Statistic name="Judgements">{judgements.toLocaleString("en")}</Statistic>
        <Statistic name="Usable comparisons">{usable.toLocaleString("en")}</Statistic>
        <Statistic name="Spent">{money(spent)}</Statistic>
        {costPerUsable !== undefined && (
          <Statistic name="Cost of a usable comparison">{money(costPerUsable)}</Statistic>
        )}
        {forecast && (
          <Statistic name={`Forecast for ${forecast.target.toLocaleString("en")} usable comparisons`}>
            {money(forecast.cost)}, {forecast.judgements.toLocaleString("en")} judgements of{" "}
            {forecast.tasks.toLocaleString("en")} prompts
          </Statistic>
        )}
      </dl>
      {forecast && (
        <p>
          <small>
            {usable > 0
              ? "The forecast is at the current rate. "
              : "No judgement is there yet: the forecast takes as many of each task as the project asks for, and that all agree. "}
            It counts comparisons: a prompt with k answers has k(k − 1)/2.{" "}
            {forecast.target === 33_000 &&
              "InstructGPT's reward model was trained on 33,000 prompts of 4 to 9 answers, 6 to 36 comparisons each. "}
            <Link href={`/projects/${id}/settings/options`}>Change the number</Link> in the settings.
          </small>
        </p>
      )}
    </>
  );
}

const Cohorts = ({ cohorts }: Pick<Quality, "cohorts">) => (
  <>
    <h2>Cohorts</h2>
    <p>
      How often two labelers of the same group agree, and two of different groups. The difference is what is
      left when the labelers' reliability is taken into account: careful labelers agree more with each other
      than with careless ones of the same preferences. Its p-value is how often groups that are drawn by lot
      from the same labelers differ as much. A p-value below 0.05 is evidence that preferences differ by
      group.
    </p>
    <Table
      label="Cohorts"
      head={["by", "labelers", "within", "across", "difference"]}
      words={["labelers"]}
      rows={cohorts.map(({ name, values, within, across, difference }) => [
        name,
        values.map(({ value, labelers }) => `${value} ${labelers}`).join(", "),
        <EstimateValue key="within" estimate={within} />,
        <EstimateValue key="across" estimate={across} />,
        <CohortDifference key="difference" difference={difference} />,
      ])}
    />
  </>
);

function CohortDifference({
  difference: { value, pValue, reason },
}: Pick<Quality["cohorts"][number], "difference">) {
  if (value === undefined) return <Undefined reason={reason} />;
  return (
    <span>
      {twoDecimals(value)}{" "}
      <small>{pValue === undefined ? reason : `p = ${Math.max(pValue, 0.001).toFixed(3)}`}</small>
    </span>
  );
}

export const Statistic = ({ name, children }: { name: string; children: React.ReactNode }) => (
  <div>
    <dt dir="auto">{name}</dt>
    <dd>{children}</dd>
  </div>
);

/**
 * A table that scrolls on narrow screens, but for its first column.
 * @param words columns of text: they are aligned left and may wrap
 */
export function Table({
  label,
  head,
  words = [],
  rows,
}: {
  label: string;
  head: readonly string[];
  words?: readonly string[];
  rows: readonly (readonly React.ReactNode[])[];
}) {
  if (!rows.length) return <p>Nothing yet.</p>;
  return (
    <section className="scroll rows" tabIndex={0} aria-label={label}>
      <table>
        <thead>
          <tr>
            {head.map((name) => (
              <th key={name} scope="col" className={words.includes(name) ? "words" : ""}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, i) => (
            <tr key={i}>
              {row.map((cell, j) => (
                <td key={j} className={words.includes(head[j] as string) ? "words" : ""}>
                  <bdi>{cell}</bdi>
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
