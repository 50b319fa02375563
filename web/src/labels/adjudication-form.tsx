import { useMutation } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { type Answer, call, type Settings } from "../ui/api.ts";
import { ErrorMessage } from "../ui/page.tsx";
import { AnswerForm } from "./answer-form.tsx";
import { type Draft, toAnswer } from "./draft.ts";

/** Form for a reviewer's decision of a task, which replaces the labelers' judgements in training. */
export function AdjudicationForm({
  id,
  task,
  settings,
  texts,
  initialDraft,
  onDone,
  children,
}: {
  id: string;
  task: string;
  settings: Settings;
  texts: readonly string[];
  initialDraft: Draft;
  onDone: () => void;
  /** Further actions, beside the button. */
  children?: ReactNode;
}) {
  const [draft, setDraft] = useState(initialDraft);
  const [missing, setMissing] = useState("");
  const decide = useMutation({
    mutationFn: (answer: Answer) =>
      call("POST /api/projects/:project/adjudications", {
        params: { project: id },
        body: { task, answer },
      }),
    onSuccess: onDone,
  });
  const submit = () => {
    const result = toAnswer(draft, settings);
    if ("missing" in result) setMissing(result.missing);
    else decide.mutate(result.answer);
  };
  return (
    <>
      <AnswerForm settings={settings} completions={texts} draft={draft} onChange={setDraft} />
      <p role="status">{missing}</p>
      <ErrorMessage error={decide.error} />
      <p className="actions">
        <button type="button" onClick={submit} disabled={decide.isPending}>
          Decide
        </button>
        {children}
      </p>
    </>
  );
}
