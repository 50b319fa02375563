import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { call, type Dispute, type Settings } from "../ui/api.ts";
import { Page, ProjectNav } from "../ui/page.tsx";
import { Prompt } from "../ui/text.tsx";
import { AdjudicationForm } from "./adjudication-form.tsx";
import { emptyDraft } from "./draft.ts";
import { formatAnswer } from "./format-answer.ts";
import { Table } from "./quality.tsx";
import { useProject } from "./queries.ts";

export function Disputes({ id }: { id: string }) {
  /** Tasks that were postponed, the latest last. */
  const [postponed, setPostponed] = useState<string[]>([]);
  const project = useProject(id);
  const disputes = useQuery({
    queryKey: ["disputes", id],
    queryFn: () => call("GET /api/projects/:project/disputes", { params: { project: id } }),
  });
  if (!project.data || !disputes.data)
    return <Page title="Disputes" error={project.error ?? disputes.error} />;
  const [first] = [...disputes.data].sort((a, b) => postponed.indexOf(a.task) - postponed.indexOf(b.task));
  return (
    <Page title="Disputes" project={project.data.name} wide>
      <ProjectNav id={id} here="/disputes" />
      {first ? (
        <>
          <p role="status">
            {disputes.data.length} of {project.data.tasks} tasks to decide. Your decision replaces the
            labelers' judgements in training.
          </p>
          <DisputeForm
            key={first.task}
            id={id}
            dispute={first}
            settings={project.data.settings}
            onLater={() => setPostponed([...postponed.filter((task) => task !== first.task), first.task])}
          />
        </>
      ) : (
        <p role="status">Labelers agree about every task that is not decided.</p>
      )}
    </Page>
  );
}

function DisputeForm({
  id,
  dispute,
  settings,
  onLater,
}: {
  id: string;
  dispute: Dispute;
  settings: Settings;
  onLater: () => void;
}) {
  const client = useQueryClient();
  const texts = dispute.completions.map(({ text }) => text);
  return (
    <>
      <Prompt messages={dispute.messages} />
      <details>
        <summary>What the labelers answered</summary>
        <Table
          label="Judgements"
          head={["labeler", "answer", "comment", "seconds"]}
          words={["answer", "comment"]}
          rows={dispute.judgements.map(({ name, answer, seconds }) => [
            name,
            formatAnswer(answer),
            answer.comment ?? "",
            String(seconds),
          ])}
        />
      </details>
      <AdjudicationForm
        id={id}
        task={dispute.task}
        settings={settings}
        texts={texts}
        initialDraft={emptyDraft(settings, texts)}
        onDone={() => client.invalidateQueries({ queryKey: ["disputes", id] })}
      >
        <button type="button" className="quiet" onClick={onLater}>
          Later
        </button>
        <Link href={`/projects/${id}/tasks/${dispute.task}`}>Everything about this task</Link>
      </AdjudicationForm>
    </>
  );
}
