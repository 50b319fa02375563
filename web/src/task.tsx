import { useQuery } from "@tanstack/react-query";
import { call } from "./api.ts";
import { letters } from "./draft.ts";
import { Page, ProjectNav } from "./page.tsx";
import { Table } from "./quality.tsx";
import { saying } from "./saying.ts";
import { Prompt, Text } from "./text.tsx";

/** All about one task, for those who look after the project. Answers are in the order that they are stored in. */
export function TaskPage({ id, task }: { id: string; task: string }) {
  const found = useQuery({
    queryKey: ["task", id, task],
    queryFn: () => call("GET /api/projects/:project/tasks/:task", { params: { project: id, task } }),
  });
  if (!found.data) return <Page title="Task" error={found.error} />;
  const { messages, completions, judgements, known, decision } = found.data;
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
        ({ id, name, answer }) =>
          answer.text !== undefined && (
            <section key={id}>
              <h3>
                As <bdi>{name}</bdi> wrote it
              </h3>
              <Text text={answer.text} />
            </section>
          ),
      )}
    </Page>
  );
}

const when = (at: number): string => new Date(at).toLocaleString();
