import { InputError } from "../data/errors.ts";
import type { Draft } from "../data/formats/format.ts";
import { columnNames, isObject, type Row } from "../data/jsonl.ts";
import { type DataReport, readDrafts, UnknownFormatError } from "../data/readers.ts";
import { suggestColumns } from "../data/suggest-columns.ts";
import { type Columns, parseRows } from "../data/tables.ts";
import { type PreferenceUse, planImport, readTasks } from "./import.ts";
import type { Project } from "./records.ts";
import type { LabelStore } from "./store.ts";

/** Tasks that a preview shows. */
const sampleCount = 3;
/** Characters that a preview shows of a column's first value. */
const exampleLength = 60;

/**
 * Reads a file as `importTasks` would, without storing anything.
 * @param columns the file's columns by our names for them. Default: guessed from their names, if the file's format is unknown
 * or a list of bare prompts
 * @throws InputError if the file cannot be read at all; what keeps its rows from becoming tasks is the preview's `problem`
 */
export async function previewImport(
  store: LabelStore,
  project: Project,
  {
    name,
    bytes,
    columns,
    use,
  }: { name: string; bytes: Buffer; columns?: Columns | undefined; use?: PreferenceUse | undefined },
) {
  const rows = await parseRows(name, bytes);
  const names = columnNames(rows);
  const table = { columns: names.map((name) => ({ name, example: exampleOf(rows, name) })) };
  const guess = suggestColumns(names);
  try {
    const native = columns ? undefined : tryRead(name, rows);
    const isBare = !native || native.report.kind === "prompt";
    const isGuessUsed = isBare && guess.prompt !== undefined && Object.keys(guess).length > 1;
    const used = columns ?? (isGuessUsed ? guess : {});
    const file = Object.keys(used).length
      ? readDrafts(name, await parseRows(name, bytes, used))
      : (native ?? readDrafts(name, rows));
    return { ...table, mapping: used, ...(await plan(store, project, file, use)) };
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const problem =
      error instanceof UnknownFormatError
        ? "The data format is not known: say what the columns hold, which is the prompt and which are its answers."
        : error.message;
    return { ...table, mapping: columns ?? guess, problem };
  }
}

type DraftFile = { drafts: Draft[]; report: DataReport };

/** Reads records by the file's own column names; undefined if they are of no known format. */
function tryRead(name: string, rows: Row[]): DraftFile | undefined {
  try {
    return readDrafts(name, rows);
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

async function plan(store: LabelStore, project: Project, file: DraftFile, use: PreferenceUse | undefined) {
  const { drafts, report } = file;
  const existing = await readTasks(store, project.id);
  const { tasks, added, dropped } = planImport(project.settings, file, use, existing);
  return {
    unused: report.unused,
    /** Records that say which answer is better, or how good they are. */
    preferences: drafts.filter(({ ranks, ratings }) => ranks || ratings).length,
    report: {
      format: report.format,
      rows: report.rows,
      examples: report.examples,
      kept: added,
      judgements: tasks.reduce(
        (sum, { judgements }) => sum + judgements.reduce((n, { answers }) => n + answers.length, 0),
        0,
      ),
      dropped,
    },
    samples: tasks
      .filter(({ id }) => id === undefined)
      .slice(0, sampleCount)
      .map(({ newTask, texts, judgements }) => ({
        messages: newTask.messages,
        completions: texts,
        ...(newTask.gold && { known: newTask.gold }),
        judgements: judgements.map(({ labeler, answers }) => ({ labeler, answer: answers.at(-1) ?? {} })),
      })),
  };
}

function exampleOf(rows: readonly Row[], name: string): string {
  const value = rows.map(({ value }) => (isObject(value) ? value[name] : undefined)).find((value) => value);
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  return text.length > exampleLength ? `${text.slice(0, exampleLength)}…` : text;
}
