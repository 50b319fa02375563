import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { Link, useLocation } from "wouter";
import { call } from "../ui/api.ts";
import { ErrorMessage, Page, ProjectNav, percent } from "../ui/page.tsx";
import { Text } from "../ui/text.tsx";
import { formatProgress } from "./format-progress.ts";
import { useGuidelines, useProject } from "./queries.ts";

/** Shows the guidelines and, until the user has passed them, the qualification questions. */
export function Qualification({ id }: { id: string }) {
  const client = useQueryClient();
  const [, navigate] = useLocation();
  const project = useProject(id);
  const guidelines = useGuidelines(id);
  const [chosen, setChosen] = useState<Record<number, number>>({});
  const qualify = useMutation({
    mutationFn: (answers: number[]) =>
      call("POST /api/projects/:project/qualification", { params: { project: id }, body: { answers } }),
    onSuccess: async ({ passed }) => {
      await client.invalidateQueries({ queryKey: ["guidelines", id] });
      if (passed) navigate(`/projects/${id}/label`);
    },
  });
  if (!project.data || !guidelines.data)
    return <Page title="Project" error={project.error ?? guidelines.error} />;
  const { text, questions, passed } = guidelines.data;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    qualify.mutate(questions.map((_, i) => chosen[i] ?? -1));
  };
  return (
    <Page title={project.data.name}>
      {project.data.role !== "labeler" && <ProjectNav id={id} here="" />}
      <p className="facts">{formatProgress(project.data)}</p>
      {passed && (
        <p>
          <Link href={`/projects/${id}/label`} className="button">
            Begin
          </Link>
        </p>
      )}
      {text && <Text text={text} isDocument />}
      {!passed && (
        <form onSubmit={submit}>
          {questions.length > 0 && <h2>Before you begin</h2>}
          {questions.map(({ question, options }, i) => (
            <fieldset key={i}>
              <legend dir="auto">{question}</legend>
              {options.map((option, place) => (
                <label key={place}>
                  <input
                    type="radio"
                    name={`question ${i}`}
                    required
                    checked={chosen[i] === place}
                    onChange={() => setChosen({ ...chosen, [i]: place })}
                  />
                  <span dir="auto">{option}</span>
                </label>
              ))}
            </fieldset>
          ))}
          <ErrorMessage error={qualify.error} />
          {qualify.data && !qualify.data.passed && (
            <p role="alert" className="problem">
              {qualify.data.correct === undefined
                ? "That was not enough"
                : `${qualify.data.correct} of ${qualify.data.total} are right`}
              : {percent(qualify.data.passMark)} must be.{" "}
              {qualify.data.attemptsLeft > 0
                ? `Read the guidelines again, and try once more: ${qualify.data.attemptsLeft} attempts are left today.`
                : "No attempt is left: read the guidelines again, and come back tomorrow."}
            </p>
          )}
          <button type="submit" disabled={qualify.isPending}>
            {questions.length ? "Check my answers" : "I have read them"}
          </button>
        </form>
      )}
    </Page>
  );
}
