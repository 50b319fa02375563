import { useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { call, type Quality } from "../ui/api.ts";
import { Page, ProjectNav, percent } from "../ui/page.tsx";

type Estimate = Quality["alpha"];

const two = (value: number) => value.toFixed(2);

/** A number with its interval, or why there is none. */
export function Measure({ of: { value, reason } }: { of: Estimate }) {
  if (!value) return <span className="none">none{reason ? `: ${reason}` : ""}</span>;
  return (
    <span>
      {two(value.value)}{" "}
      <small>
        [{two(value.low)}, {two(value.high)}]
      </small>
    </span>
  );
}

export function QualityPage({ id }: { id: string }) {
  const params = { project: id };
  const quality = useQuery({
    queryKey: ["quality", id],
    queryFn: () => call("GET /api/projects/:project/quality", { params }),
  });
  if (!quality.data) return <Page title="Quality" error={quality.error} />;
  const { alert, pairs, worst, skipped, cohorts } = quality.data;
  return (
    <Page title="Quality">
      <ProjectNav id={id} here="/quality" />
      {alert && (
        <p className="problem" role="alert">
          {alert}
        </p>
      )}
      <Agreement quality={quality.data} />
      <Money id={id} quality={quality.data} />
      <h2>Pairs of labelers</h2>
      <Table
        label="Pairs of labelers"
        head={["labelers", "Cohen's κ", "same", "comparisons"]}
        rows={pairs.map(({ a, b, kappa, reason, observed, items }) => [
          <>
            <bdi>{a}</bdi>, <bdi>{b}</bdi>
          </>,
          kappa === undefined ? `none: ${reason}` : two(kappa),
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
    <p>Of labelers on the same tasks; in brackets what 95 % of resampled tasks give.</p>
    <dl className="measures">
      <Item name="Krippendorff's α">
        <Measure of={alpha} />
      </Item>
      <Item name="Fleiss' κ">
        <Measure of={fleiss} />
      </Item>
      {(tau.value || tau.reason) && (
        <Item name="Kendall's τ of rankings">
          <Measure of={tau} />
        </Item>
      )}
      {criteria.map(({ name, alpha }) => (
        <Item key={name} name={`α of ${name}`}>
          <Measure of={alpha} />
        </Item>
      ))}
    </dl>
  </>
);

function Money({ id, quality }: { id: string; quality: Quality }) {
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
        <Item name="Judgements">{judgements.toLocaleString("en")}</Item>
        <Item name="Usable comparisons">{usable.toLocaleString("en")}</Item>
        <Item name="Spent">{money(spent)}</Item>
        {costPerUsable !== undefined && <Item name="A usable comparison">{money(costPerUsable)}</Item>}
        {forecast && (
          <Item name={`${forecast.target.toLocaleString("en")} usable comparisons`}>
            {money(forecast.cost)}, {forecast.judgements.toLocaleString("en")} judgements
          </Item>
        )}
      </dl>
      {forecast && (
        <p>
          <small>
            The last is what as many would cost at this rate.{" "}
            {forecast.target === 33_000 &&
              "InstructGPT's reward model was trained on comparisons of 33,000 prompts, and 33,000 pairs at $1 each, $33,000, are the textbook's case. "}
            <Link href={`/projects/${id}/settings`}>Another number</Link> can be set.
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
      How often two labelers of one group agree, and two of different ones. A difference whose interval is
      above 0 says that preferences differ by group.
    </p>
    <Table
      label="Cohorts"
      head={["by", "labelers", "within", "across", "difference"]}
      words={["labelers"]}
      rows={cohorts.map(({ name, values, within, across, difference }) => [
        name,
        values.map(({ value, labelers }) => `${value} ${labelers}`).join(", "),
        <Measure key="within" of={within} />,
        <Measure key="across" of={across} />,
        <Measure key="difference" of={difference} />,
      ])}
    />
  </>
);

const Item = ({ name, children }: { name: string; children: React.ReactNode }) => (
  <div>
    <dt dir="auto">{name}</dt>
    <dd>{children}</dd>
  </div>
);

/** Rows of a name and numbers; columns of `words` are written as such. */
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
    <section className="scroll" tabIndex={0} aria-label={label}>
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
