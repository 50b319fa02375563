import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { AnswerForm } from "./answer-form.tsx";
import { type Answer, call, type Dispute, type Settings } from "./api.ts";
import { answerOf, emptyDraft, letters } from "./draft.ts";
import { Page, Problem, ProjectNav } from "./page.tsx";
import { Table } from "./quality.tsx";
import { Text } from "./text.tsx";

export function Disputes({ id }: { id: string }) {
  const params = { project: id };
  const project = useQuery({
    queryKey: ["project", id],
    queryFn: () => call("GET /api/projects/:project", { params }),
  });
  const disputes = useQuery({
    queryKey: ["disputes", id],
    queryFn: () => call("GET /api/projects/:project/disputes", { params }),
  });
  if (!project.data || !disputes.data)
    return <Page title="Disputes" error={project.error ?? disputes.error} />;
  const [first] = disputes.data;
  return (
    <Page title="Disputes" wide>
      <ProjectNav id={id} here="disputes" />
      {first ? (
        <>
          <p role="status">
            {disputes.data.length} to decide. What you say is learned in place of what labelers said.
          </p>
          <Case key={first.task} id={id} dispute={first} settings={project.data.settings} />
        </>
      ) : (
        <p role="status">Labelers agree about every task, or it is decided.</p>
      )}
    </Page>
  );
}

function Case({ id, dispute, settings }: { id: string; dispute: Dispute; settings: Settings }) {
  const client = useQueryClient();
  const texts = dispute.completions.map(({ text }) => text);
  const [draft, setDraft] = useState(() => emptyDraft(settings, texts));
  const [missing, setMissing] = useState("");
  const decide = useMutation({
    mutationFn: (answer: Answer) =>
      call("POST /api/projects/:project/adjudications", {
        params: { project: id },
        body: { task: dispute.task, answer },
      }),
    onSuccess: () => client.invalidateQueries({ queryKey: ["disputes", id] }),
  });
  const submit = () => {
    const found = answerOf(draft, settings);
    if ("missing" in found) setMissing(found.missing);
    else decide.mutate(found.answer);
  };
  return (
    <>
      <section aria-label="Prompt" className="prompt">
        {dispute.messages.map(({ role, content }, i) => (
          <details key={i} open className={`turn ${role}`}>
            <summary>{role}</summary>
            <Text text={content} />
          </details>
        ))}
      </section>
      <Table
        label="What labelers said"
        head={["labeler", "answer", "comment", "seconds"]}
        rows={dispute.judgements.map(({ name, answer, seconds }) => [
          name,
          saying(answer),
          answer.comment ?? "",
          String(seconds),
        ])}
      />
      <AnswerForm settings={settings} completions={texts} draft={draft} onChange={setDraft} />
      <p role="status">{missing}</p>
      <Problem error={decide.error} />
      <button type="button" onClick={submit} disabled={decide.isPending}>
        Decide
      </button>
    </>
  );
}

/** An answer in a line. */
function saying({ ranks, preference, bothBad, ratings = {} }: Answer): string {
  const parts = Object.entries(ratings).map(([name, list]) => `${name} ${list.join(", ")}`);
  if (bothBad) parts.unshift("both bad");
  if (preference !== undefined) parts.unshift(`${preference < 5 ? "A" : "B"} (${preference} of 8)`);
  if (ranks) parts.unshift(ranks.map((rank, i) => `${letters[i]} ${rank}`).join(", "));
  return parts.join("; ");
}
