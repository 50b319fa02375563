import { useMutation, useQueryClient } from "@tanstack/react-query";
import { call, type Guidelines } from "../ui/api.ts";
import { ErrorMessage, Field, UnsavedNotice } from "../ui/page.tsx";
import { usePersistentState } from "../ui/persistent-state.ts";
import { Text } from "../ui/text.tsx";
import { useGuidelines } from "./queries.ts";

/** A question in the form. `options` has one answer on each line; `correct` is "" until one is chosen. */
interface QuestionDraft {
  question: string;
  options: string;
  correct: number | "";
}
const optionsOf = ({ options }: QuestionDraft) => options.split("\n").filter((option) => option.trim());

/** Guidelines in the form, and the published version that they were started from. */
interface GuidelinesDraft {
  version: number;
  text: string;
  /** The questions. The name is that of drafts which browsers have stored. */
  asked: QuestionDraft[];
}

/** Converts published guidelines to a draft. */
const toGuidelinesDraft = ({ version, text, questions }: Guidelines): GuidelinesDraft => ({
  version,
  text,
  asked: questions.map(({ question, options, correct }) => ({
    question,
    options: options.join("\n"),
    correct: correct ?? "",
  })),
});

function usePublish(id: string, onDone: () => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ text, asked: questions }: GuidelinesDraft) =>
      call("POST /api/projects/:project/guidelines", {
        params: { project: id },
        body: {
          text,
          questions: questions.map((question) => ({
            question: question.question,
            options: optionsOf(question),
            correct: Number(question.correct),
          })),
        },
      }),
    onSuccess: async () => {
      await client.invalidateQueries();
      onDone();
    },
  });
}

/** Form for guidelines and qualification questions. The draft is stored in the browser until it is published. */
export function GuidelinesForm({ id }: { id: string }) {
  const published = useGuidelines(id);
  const [draft, setDraft] = usePersistentState<GuidelinesDraft>(`guidelines ${id}`);
  const publish = usePublish(id, () => setDraft(undefined));
  if (!published.data) return <ErrorMessage error={published.error} />;
  const { version } = published.data;
  const shown = draft ?? toGuidelinesDraft(published.data);
  const { asked: questions } = shown;
  const update = (part: Partial<GuidelinesDraft>) => setDraft({ ...shown, ...part });
  const change = (place: number, part: Partial<QuestionDraft>) =>
    update({
      asked: questions.map((question, i) => (i === place ? { ...question, ...part } : question)),
    });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        publish.mutate(shown);
      }}
    >
      <div className="sides">
        <label>
          In Markdown
          <textarea
            rows={10}
            dir="auto"
            required
            value={shown.text}
            onChange={({ target }) => update({ text: target.value })}
          />
        </label>
        <section aria-label="As labelers see it">
          <Text text={shown.text || "…"} />
        </section>
      </div>
      {questions.map((question, i) => (
        <QuestionFields
          key={i}
          place={i}
          draft={question}
          onChange={(part) => change(i, part)}
          onRemove={() => update({ asked: questions.filter((_, other) => other !== i) })}
        />
      ))}
      <p>
        <button
          type="button"
          className="quiet"
          onClick={() => update({ asked: [...questions, { question: "", options: "yes\nno", correct: "" }] })}
        >
          Add a question
        </button>
      </p>
      <ErrorMessage error={publish.error} />
      {shown.version < version && (
        <p className="problem">
          Version {version} was published after you started this draft. Discard the draft to see it.
        </p>
      )}
      <button type="submit" disabled={publish.isPending}>
        Publish version {version + 1}
      </button>
      <small> All labelers read it and answer the questions before their next task.</small>
      <UnsavedNotice
        unsaved={draft && "Not published yet"}
        saved={publish.isSuccess && "Published."}
        onDiscard={() => setDraft(undefined)}
      />
    </form>
  );
}

function QuestionFields({
  place,
  draft,
  onChange,
  onRemove,
}: {
  place: number;
  draft: QuestionDraft;
  onChange: (part: Partial<QuestionDraft>) => void;
  onRemove: () => void;
}) {
  return (
    <fieldset className="fields">
      <legend>Question {place + 1}</legend>
      <Field label="Question">
        <input
          value={draft.question}
          required
          onChange={({ target }) => onChange({ question: target.value })}
        />
      </Field>
      <Field label="Answers, one a line">
        <textarea
          rows={3}
          required
          value={draft.options}
          onChange={({ target }) => onChange({ options: target.value })}
        />
      </Field>
      <Field label="Right one" hint="Labelers do not see which one is right.">
        <select
          required
          value={draft.correct}
          onChange={({ target }) => onChange({ correct: target.value && Number(target.value) })}
        >
          <option value="">Choose</option>
          {optionsOf(draft).map((option, i) => (
            <option key={i} value={i}>
              {option}
            </option>
          ))}
        </select>
      </Field>
      <button type="button" className="quiet" onClick={onRemove}>
        Remove question {place + 1}
      </button>
    </fieldset>
  );
}
