import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { call, type Labeler } from "../ui/api.ts";
import { Page, ProjectNav, percent } from "../ui/page.tsx";
import { LabelerDetails } from "./labeler-details.tsx";
import { Table } from "./quality.tsx";
import { useProject } from "./queries.ts";

/** @param isOwner whether the user owns the store: skills and cohorts belong to accounts */
export function Labelers({ id, isOwner }: { id: string; isOwner: boolean }) {
  const project = useProject(id);
  const labelers = useQuery({
    queryKey: ["labelers", id],
    queryFn: () => call("GET /api/projects/:project/labelers", { params: { project: id } }),
  });
  const [opened, setOpened] = useState<string>();
  const share = (part: number, total: number) =>
    total ? `${percent(part / total)} of ${total}` : "none yet";
  if (!project.data || !labelers.data)
    return <Page title="Labelers" error={project.error ?? labelers.error} />;
  const openedLabeler = labelers.data.find(({ user }) => user.id === opened);
  return (
    <Page title="Labelers" project={project.data.name} wide>
      <ProjectNav id={id} here="/labelers" />
      {labelers.data
        .filter(({ judgements, weight }) => judgements > 0 && weight === 0)
        .map(({ user, judgements, reliability = 0 }) => (
          <p key={user.id} className="problem" role="alert">
            The {judgements} judgements of <bdi>{user.name}</bdi> count nothing in training: they prefer the
            better answer in {percent(reliability)} of pairs, judging by others and by known answers, which is
            no more than chance.
          </p>
        ))}
      <Table
        label="Labelers"
        head={[
          "labeler",
          "judgements",
          "known answers",
          "consistency",
          "agreement by week",
          "reliability",
          "weight",
        ]}
        rows={labelers.data.map(({ user, judgements, gold, consistency, agreement, reliability, weight }) => [
          <button key="open" type="button" className="quiet" onClick={() => setOpened(user.id)}>
            {user.name}
          </button>,
          String(judgements),
          share(gold.right, gold.total),
          share(consistency.same, consistency.total),
          <Weeks key="weeks" agreement={agreement} />,
          reliability === undefined ? "" : reliability.toFixed(2),
          weight.toFixed(2),
        ])}
      />
      <p>
        <small>
          “Consistency” is the share of repeated tasks with the same answer. “Reliability” is the estimated
          probability that the labeler prefers the better answer, from all judgements and the known answers.
          “Weight” is the weight of their judgements in training, 2 · reliability − 1, and that of a new
          labeler until the judgements show less. A click on a name shows more.
        </small>
      </p>
      {openedLabeler && (
        <LabelerDetails key={openedLabeler.user.id} id={id} labeler={openedLabeler} isOwner={isOwner} />
      )}
    </Page>
  );
}

/** Bar chart of the agreement with other labelers by week. */
function Weeks({ agreement }: { agreement: Labeler["agreement"] }) {
  const weeks = agreement.filter(({ total }) => total > 0);
  if (!weeks.length) return <>none yet</>;
  const text = weeks.map(({ week, agree, total }) => `${week}: ${percent(agree / total)}`).join(", ");
  return (
    <svg className="weeks" viewBox={`0 0 ${weeks.length * 8} 24`} role="img" aria-label={text}>
      <title>{text}</title>
      {weeks.map(({ week, agree, total }, i) => {
        // No agreement is a line, where no week is nothing.
        const height = Math.max(1, (24 * agree) / total);
        return <rect key={week} x={i * 8 + 1} width={6} y={24 - height} height={height} />;
      })}
    </svg>
  );
}
