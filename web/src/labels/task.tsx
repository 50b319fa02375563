import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { call, type TaskHistory } from "../ui/api.ts";
import { ErrorMessage, Page, ProjectNav } from "../ui/page.tsx";
import { Prompt, Text } from "../ui/text.tsx";
import { AdjudicationForm } from "./adjudication-form.tsx";
import { letters, toDraft } from "./draft.ts";
import { formatAnswer } from "./format-answer.ts";
import { Table } from "./quality.tsx";
import { useProject } from "./queries.ts";

/** Page of one task with all of its judgements, for reviewers and owners. Answers are in stored order. */
export function TaskPage({ id, task }: { id: string; task: string }) {
  const history = useQuery({
    queryKey: ["task", id, task],
    queryFn: () => call("GET /api/projects/:project/tasks/:task", { params: { project: id, task } }),
  });
  const project = useProject(id);
  const [deciding, setDeciding] = useState(false);
  if (!history.data || !project.data) return <Page title="Task" error={history.error ?? project.error} />;
  const { messages, completions, judgements, known, decision, withdrawn } = history.data;
  const texts = completions.map(({ text }) => text);
  /** Whether the form shows the answers, which are then not shown twice. */
  const isInForm = deciding && project.data.settings.kind !== "demonstration";
  // The form starts from the newest answer.
  const newestAnswer = decision?.answer ?? judgements.findLast(({ revised }) => !revised)?.answer;
  return (
    <Page title="Task" project={project.data.name} wide>
      <ProjectNav id={id} />
      {project.data.role === "owner" && (
        <Withdrawal id={id} task={task} withdrawn={withdrawn} onChange={() => history.refetch()} />
      )}
      <Prompt messages={messages} />
      {completions.length > 0 && !isInForm && (
        <div className="completions" data-count={completions.length}>
          {completions.map(({ text, model }, i) => (
            <section key={i} className="completion" aria-label={`Answer ${letters[i]}`}>
              <header>
                <h2>Answer {letters[i]}</h2>
                {model && <small dir="auto">{model}</small>}
              </header>
              <Text text={text} />
            </section>
          ))}
        </div>
      )}
      <h2>Judgements</h2>
      {known && <p>The answer is known: {formatAnswer(known)}.</p>}
      {decision && (
        <p>
          Decided by <bdi>{decision.name}</bdi>, {formatTime(decision.at)}: {formatAnswer(decision.answer)}.
        </p>
      )}
      <Judgements judgements={judgements} />
      {decision?.answer.text !== undefined && (
        <section>
          <h3>As decided</h3>
          <Text text={decision.answer.text} />
        </section>
      )}
      {newestAnswer && !known && (
        <>
          <h2>{decision ? "Decide again" : "Decide"}</h2>
          <p>Your decision replaces the labelers' judgements in training.</p>
          {deciding ? (
            <AdjudicationForm
              id={id}
              task={task}
              texts={texts}
              settings={project.data.settings}
              initialDraft={{ ...toDraft(newestAnswer, project.data.settings, texts), comment: "" }}
              onDone={() => {
                setDeciding(false);
                history.refetch();
              }}
            />
          ) : (
            <button type="button" onClick={() => setDeciding(true)}>
              Overrule
            </button>
          )}
        </>
      )}
    </Page>
  );
}

/** Withdraws the task, or restores it. For owners. */
function Withdrawal({
  id,
  task,
  withdrawn,
  onChange,
}: {
  id: string;
  task: string;
  withdrawn: boolean;
  onChange: () => void;
}) {
  const change = useMutation({
    mutationFn: () =>
      call("PATCH /api/projects/:project/tasks/:task", {
        params: { project: id, task },
        body: { withdrawn: !withdrawn },
      }),
    onSuccess: onChange,
  });
  return (
    <div className="actions">
      {withdrawn && <p>Withdrawn: no labeler gets this task, and it counts nowhere.</p>}
      <button type="button" className="quiet" disabled={change.isPending} onClick={() => change.mutate()}>
        {withdrawn ? "Restore the task" : "Withdraw the task"}
      </button>
      <ErrorMessage error={change.error} />
    </div>
  );
}

const Judgements = ({ judgements }: Pick<TaskHistory, "judgements">) => (
  <>
    <Table
      label="Judgements"
      head={["labeler", "answer", "comment", "seconds", "when"]}
      words={["answer", "comment"]}
      rows={judgements.map(({ name, answer, repeat, revised, right, seconds, at }) => [
        name,
        [
          formatAnswer(answer),
          ...(repeat ? ["asked again"] : []),
          ...(revised ? ["revised since"] : []),
          ...(right === undefined ? [] : [right ? "right" : "wrong"]),
        ].join("; "),
        answer.comment,
        String(seconds),
        formatTime(at),
      ])}
    />
    {judgements.map(
      ({ id, name, answer, revised }) =>
        answer.text !== undefined && (
          <section key={id}>
            <h3>
              As <bdi>{name}</bdi> wrote it{revised && ", revised since"}
            </h3>
            <Text text={answer.text} />
          </section>
        ),
    )}
  </>
);

const formatTime = (at: number): string => new Date(at).toLocaleString();
