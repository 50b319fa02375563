import { createWriteStream, readFileSync, renameSync, rmSync } from "node:fs";
import { basename } from "node:path";
import { pipeline } from "node:stream/promises";
import { Command, Option } from "commander";
import { diskError } from "../data/errors.ts";
import { readDrafts } from "../data/readers.ts";
import { type Columns, type Encoding, encodeRows, encodingToWrite, readRows } from "../data/tables.ts";
import { collect, exportSomeRows, findProject } from "../labels/export.ts";
import { type ExportFormat, exportFormats } from "../labels/export-formats.ts";
import { importTasks, inferRubric, type PreferenceUse, planImport } from "../labels/import.ts";
import type { Project } from "../labels/records.ts";
import { type ProjectSettings, projectSettingsSchema, type TaskKind, taskKinds } from "../labels/settings.ts";
import type { LabelStore } from "../labels/store.ts";
import { describeUncounted } from "../labels/uncounted.ts";
import { isServer, LabelServer } from "./label-server.ts";
import { columnsOption, numeric, storeOrServerOption } from "./options.ts";
import { withStore } from "./store.ts";
import { formatDropped, print, printPart } from "./terminal.ts";

// `labels import` and `labels export`: files into a label store and out of it, also through a label app.

interface StoreOptions {
  store: string;
  project?: string;
  json?: boolean;
}

interface ImportOptions extends StoreOptions {
  kind?: TaskKind;
  gold?: true;
  judgements?: true;
  columns?: Columns;
  limit?: number;
}

export const importCommand = () =>
  new Command("import")
    .description(
      "Create tasks from a file of prompts and completions, in any format that `data check` detects",
    )
    .argument("<file>", "JSONL, JSON, CSV or TSV file, gzipped or not, or Parquet")
    .option(...storeOrServerOption)
    .option("--project <name>", "project to add to; created with --kind")
    .addOption(new Option("--kind <kind>", "create the project, with tasks of this kind").choices(taskKinds))
    .addOption(
      new Option(
        "--gold",
        "import the file's preferences as known answers, against which labelers are measured",
      ).conflicts("judgements"),
    )
    .addOption(columnsOption("--map, --columns <pairs>"))
    .option("--judgements", "import the file's preferences as judgements of its labelers")
    .option("--limit <rows>", "import only the first rows of the file", numeric(1, true))
    .option("--json", "print the counts as JSON")
    .action(async (file: string, options: ImportOptions) => {
      const { kind, gold, judgements, columns, limit, json } = options;
      const drafts = readDrafts(file, (await readRows(file, columns)).slice(0, limit));
      const settings = kind && { kind, ...(kind === "rating" && { rubric: inferRubric(drafts) }) };
      const use: PreferenceUse | undefined = gold ? "gold" : judgements ? "judgements" : undefined;
      // Before the project is created, so that a file that is refused leaves none behind.
      if (settings) planImport(projectSettingsSchema.parse(settings), drafts, use);
      const target = { ...options, settings, use };
      const { project, report } = await (isServer(options.store)
        ? importByServer(file, target)
        : importHere(file, drafts, target));
      const { unused } = drafts.report;
      if (json) return print(JSON.stringify({ project: project.id, ...report, unused }));
      print(`${file}: ${report.format}, ${report.rows} rows`);
      print(`  ${report.kept} tasks added to "${project.name}"`);
      if (judgements) print(`  ${report.judgements} judgements of them`);
      for (const line of formatDropped(report.dropped, report.examples, "dropped: ")) print(line);
      if (unused.length)
        print(`  columns that are not used: ${unused.join(", ")}; name them by --map if they matter`);
    });

/** `settings` are of the project to create; without them it exists. */
interface ImportTarget extends ImportOptions {
  settings: { kind: TaskKind; rubric?: ProjectSettings["rubric"] } | undefined;
  use: PreferenceUse | undefined;
}

const importHere = (
  file: string,
  drafts: ReturnType<typeof readDrafts>,
  { store: where, project: name, settings, use }: ImportTarget,
) =>
  withStore(
    where,
    async (store, find) => {
      const project = settings
        ? await store.addProject(null, { name: name ?? file, settings })
        : await find(name);
      return { project, report: await importTasks(store, null, project, drafts, use) };
    },
    settings !== undefined,
  );

async function importByServer(
  file: string,
  { store: address, project: name, settings, use, columns, limit }: ImportTarget,
) {
  const server = new LabelServer(address);
  const project = settings
    ? await server.call("POST /api/projects", { body: { name: name ?? basename(file), settings } })
    : findProject(await server.call("GET /api/projects"), name);
  const body = { name: basename(file), base64: readFileSync(file, "base64"), use, columns, limit };
  const params = { project: project.id };
  return { project, report: await server.call("POST /api/projects/:project/import", { params, body }) };
}

interface FileExport {
  format: ExportFormat;
  margins: boolean;
  encoding: Encoding;
  /** Called with the tasks left out, by reason. */
  onDrop: (reason: string, count: number) => void;
}

export const exportCommand = () =>
  new Command("export")
    .description("Export a project's labels, as JSON lines or a table")
    .option(...storeOrServerOption)
    .option("--project <name>", "project, by name or id; not needed if there is only one")
    .addOption(
      new Option("--format <format>", "format of the rows").choices(exportFormats).default("rankings"),
    )
    .option(
      "--margins",
      "add margins to rankings and preferences: how much better the better completion is, 0 to 3, as in Llama 2",
    )
    .option("--out <file>", "file to write: .jsonl, .json, .csv or .parquet (default: JSON lines to stdout)")
    .action(
      async ({
        format,
        margins = false,
        out,
        store,
        project,
      }: StoreOptions & { format: ExportFormat; margins?: boolean; out?: string }) => {
        const encoding = out === undefined ? "jsonl" : encodingToWrite(out);
        const dropped = new Map<string, number>();
        const onDrop = (reason: string, count: number) =>
          dropped.set(reason, (dropped.get(reason) ?? 0) + count);
        const options = { format, margins, encoding, onDrop };
        const write = (chunks: AsyncIterable<string | Uint8Array>) => writeChunks(out, chunks);
        if (isServer(store)) await write(exportByServer(store, project, options));
        else
          await withStore(store, async (store, find) => {
            const found = await find(project);
            await write(exportHere(store, found, options));
            if (format !== "log" && format !== "judgements")
              for (const sentence of await describeUncounted(store, found))
                console.error(`warning: ${sentence}`);
          });
        for (const [reason, count] of dropped) console.error(`${count} tasks left out: ${reason}`);
      },
    );

/** Yields the parts of a file of a project's labels. */
async function* exportHere(
  store: LabelStore,
  project: Project,
  { format, margins, encoding, onDrop }: FileExport,
): AsyncGenerator<string | Uint8Array> {
  const rows = await exportSomeRows(store, project, format, {
    margins,
    onDrop: (reason) => onDrop(reason, 1),
  });
  if (encoding === "jsonl") for await (const row of rows) yield `${JSON.stringify(row)}\n`;
  else yield await encodeRows(encoding, await collect(rows));
}

/** Yields the parts of a file of a project's labels, from a label app. */
async function* exportByServer(
  address: string,
  name: string | undefined,
  { format, margins, encoding, onDrop }: FileExport,
): AsyncGenerator<Uint8Array> {
  const server = new LabelServer(address);
  const { id: project } = findProject(await server.call("GET /api/projects"), name);
  yield* server.exportFile(project, { format, as: encoding, margins });
  const counts = await server.call("GET /api/projects/:project/exports", { params: { project } });
  const count = counts.find((count) => count.format === format);
  for (const [reason, tasks] of Object.entries(count?.dropped ?? {})) onDrop(reason, tasks);
}

/** Writes a file, or stdout. An error leaves no partial file. */
async function writeChunks(
  out: string | undefined,
  chunks: AsyncIterable<string | Uint8Array>,
): Promise<void> {
  if (out === undefined) {
    for await (const chunk of chunks) printPart(chunk);
    return;
  }
  const temporary = `${out}.tmp-${process.pid}`;
  try {
    await pipeline(chunks, createWriteStream(temporary));
    renameSync(temporary, out);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw diskError(error, out);
  }
}
