import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { call, type TaskHistory } from "../ui/api.ts";
import { Page, ProjectNav } from "../ui/page.tsx";
import { Prompt, Text } from "../ui/text.tsx";
import { Decide } from "./adjudication-form.tsx";
import { draftOf, letters } from "./draft.ts";
import { saying } from "./format-answer.ts";
import { Table } from "./quality.tsx";
import { useProject } from "./queries.ts";

/** All about one task, for those who look after the project. Answers are in the order that they are stored in. */
export function TaskPage({ id, task }: { id: string; task: string }) {
  const found = useQuery({
    queryKey: ["task", id, task],
    queryFn: () => call("GET /api/projects/:project/tasks/:task", { params: { project: id, task } }),
  });
  const project = useProject(id);
  const [deciding, setDeciding] = useState(false);
  if (!found.data || !project.data) return <Page title="Task" error={found.error ?? project.error} />;
  const { messages, completions, judgements, known, decision } = found.data;
  const texts = completions.map(({ text }) => text);
  // What is corrected is what was said last.
  const last = decision?.answer ?? judgements.findLast(({ revised }) => !revised)?.answer;
  return (
    <Page title="Task" wide>
      <ProjectNav id={id} />
      <Prompt messages={messages} />
      {completions.length > 0 && (
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
      {known && <p>The answer is known: {saying(known)}.</p>}
      {decision && (
        <p>
          Decided by <bdi>{decision.name}</bdi>, {when(decision.at)}: {saying(decision.answer)}.
        </p>
      )}
      <Judgements judgements={judgements} />
      {decision?.answer.text !== undefined && (
        <section>
          <h3>As decided</h3>
          <Text text={decision.answer.text} />
        </section>
      )}
      {last && !known && (
        <>
          <h2>{decision ? "Decide again" : "Decide"}</h2>
          <p>What you decide is learned in place of what labelers said.</p>
          {deciding ? (
            <Decide
              {...{ id, task, texts, settings: project.data.settings }}
              begun={{ ...draftOf(last, project.data.settings, texts), comment: "" }}
              onDone={() => {
                setDeciding(false);
                found.refetch();
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

const Judgements = ({ judgements }: Pick<TaskHistory, "judgements">) => (
  <>
    <Table
      label="Judgements"
      head={["labeler", "answer", "comment", "seconds", "when"]}
      words={["answer", "comment"]}
      rows={judgements.map(({ name, answer, repeat, revised, right, seconds, at }) => [
        name,
        [
          saying(answer),
          ...(repeat ? ["asked again"] : []),
          ...(revised ? ["revised since"] : []),
          ...(right === undefined ? [] : [right ? "right" : "wrong"]),
        ].join("; "),
        answer.comment,
        String(seconds),
        when(at),
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

const when = (at: number): string => new Date(at).toLocaleString();
