import { responseColumns } from "./response-columns.ts";
import type { Columns } from "./tables.ts";

/** Words that name a column elsewhere, by our name for it. A column is given the first name that fits it. */
const synonyms: readonly (readonly [name: string, words: RegExp])[] = [
  ["prompt", /^(prompt|question|instruction|query|input|user|request|task)s?( text)?$/],
  ["chosen", /^(chosen|good|better|best|accepted|winning)( (response|answer|completion|output))?$/],
  ["rejected", /^(rejected|bad|worse|worst|losing)( (response|answer|completion|output))?$/],
  ["preferred", /^(preferred|preference|label|winner|choice|verdict|better one)$/],
  ["completion", /^(completion|response|answer|output|reply)( text)?$/],
  ["labeler", /^(labell?er|annotator|rater|worker|judge|reviewer)( id| name)?$/],
  ["comment", /^(comment|reason|rationale|explanation|justification|note)s?$/],
  ["skill", /^skills?$/],
];
/** A column of several answers: its number or letter is caught. */
const numbered = /^(?:response|answer|completion|output|reply|option|candidate|model)? ?(\d|[a-i])$/;

const normalise = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll(/[\s_-]+/g, " ")
    .trim();

/**
 * Guesses what a table's columns hold from their names, for files of an unknown format.
 * @returns columns by our names for them, as far as they can be guessed
 */
export function suggestColumns(names: readonly string[]): Columns {
  const columns: Record<string, string> = {};
  for (const [ours, words] of synonyms) {
    const name = names.find((name) => words.test(normalise(name)) && !Object.values(columns).includes(name));
    if (name !== undefined) columns[ours] = name;
  }
  const answers = names
    .flatMap((name) => {
      const place = numbered.exec(normalise(name))?.[1];
      return place ? [{ name, place }] : [];
    })
    .sort((a, b) => a.place.localeCompare(b.place));
  if (answers.length > 1)
    answers.slice(0, responseColumns.length).forEach(({ name }, i) => {
      columns[responseColumns[i] as string] = name;
    });
  return columns;
}

/** Formats columns as the option that reads them: see `suggestColumns`. */
export const formatColumns = (columns: Columns): string =>
  `--columns "${Object.entries(columns)
    .map(([ours, name]) => `${ours}=${name}`)
    .join(",")}"`;
