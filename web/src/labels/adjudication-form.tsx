import { useMutation } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { type Answer, call, type Settings } from "../ui/api.ts";
import { Problem } from "../ui/page.tsx";
import { AnswerForm } from "./answer-form.tsx";
import { answerOf, type Draft } from "./draft.ts";

/** Decides a task: what is said here is learned in place of what labelers said. */
export function Decide({
  id,
  task,
  settings,
  texts,
  begun,
  onDone,
  children,
}: {
  id: string;
  task: string;
  settings: Settings;
  texts: readonly string[];
  begun: Draft;
  onDone: () => void;
  /** What else can be done, beside the button. */
  children?: ReactNode;
}) {
  const [draft, setDraft] = useState(begun);
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
    const found = answerOf(draft, settings);
    if ("missing" in found) setMissing(found.missing);
    else decide.mutate(found.answer);
  };
  return (
    <>
      <AnswerForm settings={settings} completions={texts} draft={draft} onChange={setDraft} />
      <p role="status">{missing}</p>
      <Problem error={decide.error} />
      <p className="actions">
        <button type="button" onClick={submit} disabled={decide.isPending}>
          Decide
        </button>
        {children}
      </p>
    </>
  );
}
