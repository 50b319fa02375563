import type { ImportPreview } from "../ui/api.ts";
import { Prompt, Text } from "../ui/text.tsx";
import { letters } from "./draft.ts";
import { formatAnswer } from "./format-answer.ts";

/** Characters of a text that a preview shows. */
const shownLength = 1000;

const shorten = (text: string): string =>
  text.length > shownLength ? `${text.slice(0, shownLength)} …` : text;

/** Shows the first tasks of a file as they would be imported. */
export const ImportSamples = ({ samples }: { samples: NonNullable<ImportPreview["samples"]> }) => (
  <>
    {samples.map(({ messages, completions, known, judgements }, i) => (
      <section key={i} className="sample" aria-label={`Task ${i + 1}`}>
        <h3>Task {i + 1}</h3>
        <Prompt
          label={`Prompt of task ${i + 1}`}
          messages={messages.map((message) => ({ ...message, content: shorten(message.content) }))}
        />
        <div className="completions" data-count={completions.length}>
          {completions.map((text, place) => (
            <div key={place} className="completion">
              <h4>Answer {letters[place]}</h4>
              <Text text={shorten(text)} />
            </div>
          ))}
        </div>
        {known && <p>Known answer: {formatAnswer(known)}</p>}
        {judgements.map(({ labeler, answer }) => (
          <p key={labeler}>
            Judged by <bdi>{labeler}</bdi>: {formatAnswer(answer)}
          </p>
        ))}
      </section>
    ))}
  </>
);
