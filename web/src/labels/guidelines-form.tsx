import { useMutation, useQueryClient } from "@tanstack/react-query";
import { call, type Guidelines } from "../ui/api.ts";
import { Field, Problem, Unsent } from "../ui/page.tsx";
import { useKept } from "../ui/persistent-state.ts";
import { Text } from "../ui/text.tsx";
import { useGuidelines } from "./queries.ts";

/** A question as it is written: one answer a line, and which is right once that is chosen. */
interface Asked {
  question: string;
  options: string;
  correct: number | "";
}
const optionsOf = ({ options }: Asked) => options.split("\n").filter((option) => option.trim());

/** Guidelines that are being written, and the version that they began from. */
interface Written {
  version: number;
  text: string;
  asked: Asked[];
}

/** Published guidelines, to be written on. */
const begin = ({ version, text, questions }: Guidelines): Written => ({
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
    mutationFn: ({ text, asked }: Written) =>
      call("POST /api/projects/:project/guidelines", {
        params: { project: id },
        body: {
          text,
          questions: asked.map((one) => ({
            question: one.question,
            options: optionsOf(one),
            correct: Number(one.correct),
          })),
        },
      }),
    onSuccess: async () => {
      await client.invalidateQueries();
      onDone();
    },
  });
}

/** What labelers read and are asked. It is kept until it is published. */
export function GuidelinesForm({ id }: { id: string }) {
  const now = useGuidelines(id);
  const [written, setWritten] = useKept<Written>(`guidelines ${id}`);
  const publish = usePublish(id, () => setWritten(undefined));
  if (!now.data) return <Problem error={now.error} />;
  const { version } = now.data;
  const shown = written ?? begin(now.data);
  const { asked } = shown;
  const write = (part: Partial<Written>) => setWritten({ ...shown, ...part });
  const change = (place: number, part: Partial<Asked>) =>
    write({ asked: asked.map((one, i) => (i === place ? { ...one, ...part } : one)) });
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
            onChange={({ target }) => write({ text: target.value })}
          />
        </label>
        <section aria-label="As labelers see it">
          <Text text={shown.text || "…"} />
        </section>
      </div>
      {asked.map((one, i) => (
        <QuestionFields
          key={i}
          place={i}
          asked={one}
          onChange={(part) => change(i, part)}
          onRemove={() => write({ asked: asked.filter((_, other) => other !== i) })}
        />
      ))}
      <p>
        <button
          type="button"
          className="quiet"
          onClick={() => write({ asked: [...asked, { question: "", options: "yes\nno", correct: "" }] })}
        >
          Add a question
        </button>
      </p>
      <Problem error={publish.error} />
      {shown.version < version && (
        <p className="problem">
          Version {version} was published since you began this one. Discard this to see it.
        </p>
      )}
      <button type="submit" disabled={publish.isPending}>
        Publish version {version + 1}
      </button>
      <small> Everybody reads it, and answers the questions, before their next task.</small>
      <Unsent
        what={written && "Not published yet"}
        done={publish.isSuccess && "Published."}
        onDiscard={() => setWritten(undefined)}
      />
    </form>
  );
}

function QuestionFields({
  place,
  asked,
  onChange,
  onRemove,
}: {
  place: number;
  asked: Asked;
  onChange: (part: Partial<Asked>) => void;
  onRemove: () => void;
}) {
  return (
    <fieldset className="fields">
      <legend>Question {place + 1}</legend>
      <Field label="Question">
        <input
          value={asked.question}
          required
          onChange={({ target }) => onChange({ question: target.value })}
        />
      </Field>
      <Field label="Answers, one a line">
        <textarea
          rows={3}
          required
          value={asked.options}
          onChange={({ target }) => onChange({ options: target.value })}
        />
      </Field>
      <Field label="Right one" hint="Labelers are not told.">
        <select
          required
          value={asked.correct}
          onChange={({ target }) => onChange({ correct: target.value && Number(target.value) })}
        >
          <option value="">Choose</option>
          {optionsOf(asked).map((option, i) => (
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
