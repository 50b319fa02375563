import { Command, Option } from "commander";
import { InputError } from "../data/errors.ts";
import { writeAtomic } from "../data/jsonl.ts";
import { readDrafts } from "../data/readers.ts";
import { type Columns, encodeRows, encodingOf, readRows } from "../data/tables.ts";
import { backUp, restore } from "../labels/backup.ts";
import { collect, exportRows } from "../labels/export.ts";
import { type ExportFormat, exportFormats } from "../labels/export-formats.ts";

import { importTasks, inferRubric, planImport } from "../labels/import.ts";
import { readRatings } from "../labels/ratings.ts";
import { projectSettingsSchema, type TaskKind, taskKinds } from "../labels/settings.ts";
import { type Verification, verify } from "../labels/verify.ts";
import {
  type Agreement,
  type Estimate,
  measureAgreement,
  type Scale,
  scales,
} from "../statistics/agreement.ts";
import { labelerAccuracy } from "../statistics/reliability.ts";
import { columnsOption, storeOption } from "./options.ts";

import { withStore } from "./store.ts";
import { formatNumber, formatTable, openLines, print } from "./terminal.ts";

/** Options of commands on a label store. */
interface StoreOptions {
  store: string;
  project?: string;
  json?: boolean;
}

export function define(group: Command): Command {
  for (const make of [
    importCommand,
    exportCommand,
    agreementCommand,
    verifyCommand,
    backupCommand,
    restoreCommand,
  ])
    group.addCommand(make());
  return group;
}

const importCommand = () =>
  new Command("import")

    .description(
      "Create tasks from a file of prompts and completions, in any format that `data check` detects",
    )
    .argument("<file>", "JSONL, JSON or CSV file, gzipped or not, or Parquet")
    .option(...storeOption)
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
    .option("--json", "print the counts as JSON")
    .action(
      async (
        file: string,
        {
          kind,
          gold,
          judgements,
          columns,
          json,
          ...options
        }: StoreOptions & { kind?: TaskKind; gold?: true; judgements?: true; columns?: Columns },
      ) => {
        const drafts = readDrafts(file, await readRows(file, columns));
        await withStore(
          options.store,
          async (store, find) => {
            const settings = kind && { kind, ...(kind === "rating" && { rubric: inferRubric(drafts) }) };
            const use = gold ? "gold" : judgements ? "judgements" : undefined;
            // Before the project is created, so that a file that is refused leaves none behind.
            if (settings) planImport(projectSettingsSchema.parse(settings), drafts, use);
            const project = settings
              ? await store.addProject(null, { name: options.project ?? file, settings })
              : await find(options.project);
            const report = await importTasks(store, null, project, drafts, use);
            if (json)
              return print(JSON.stringify({ project: project.id, ...report, unused: drafts.report.unused }));
            print(`${file}: ${report.format}, ${report.rows} rows`);
            print(`  ${report.kept} tasks added to "${project.name}"`);
            if (judgements) print(`  ${report.judgements} judgements of them`);
            for (const [reason, count] of Object.entries(report.dropped))
              print(`  ${String(count).padStart(6)}  dropped: ${reason}`);
            const { unused } = drafts.report;
            if (unused.length)
              print(`  columns that are not used: ${unused.join(", ")}; name them by --map if they matter`);
          },
          kind !== undefined,
        );
      },
    );

const exportCommand = () =>
  new Command("export")

    .description("Export a project's labels, as JSON lines or a table")
    .option(...storeOption)
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
        ...options
      }: StoreOptions & { format: ExportFormat; margins?: boolean; out?: string }) => {
        const dropped = new Map<string, number>();
        const drop = (reason: string) => dropped.set(reason, (dropped.get(reason) ?? 0) + 1);
        await withStore(options.store, async (store, find) => {
          const project = await find(options.project);
          const rows = exportRows(store, project, format, { margins, onDrop: drop });
          const encoding = encodingOf(out ?? "");
          if (out === undefined || encoding === "jsonl") {
            const file = openLines(out);
            for await (const row of rows) file.write(row);
            file.close();
          } else {
            const bytes = await encodeRows(encoding, await collect(rows));
            writeAtomic(out, (write) => write(bytes));
          }
        });
        for (const [reason, count] of dropped) console.error(`${count} tasks left out: ${reason}`);
      },
    );

const agreementCommand = () =>
  new Command("agreement")

    .description("Compute the agreement of labelers from a table of their labels")
    .argument("<file>", "CSV with the columns item, labeler, label; or JSON lines of these fields")
    .addOption(
      new Option("--scale <scale>", "measurement scale of the labels").choices(scales).default("nominal"),
    )
    .option("--json", "print the result as JSON")
    .action(async (file: string, { scale, json }: { scale: Scale; json?: boolean }) => {
      const ratings = readRatings(file, scale);
      const agreement = measureAgreement(ratings, scale);
      const accuracy = scale === "nominal" ? labelerAccuracy(ratings) : undefined;
      print(
        json ? JSON.stringify({ ...agreement, accuracy }) : describeAgreement(agreement, scale, accuracy),
      );
    });

const verifyCommand = () =>
  new Command("verify")

    .description("Rebuild all tables from the log, and report differences")
    .option(...storeOption)
    .option("--json", "print the differences as JSON")
    .action(async (options: StoreOptions) => {
      await withStore(options.store, async (store) => {
        const report = await verify(store);
        if (options.json) print(JSON.stringify(report));
        else {
          print(
            `${report.events} events; rows that follow from them: ${Object.entries(report.rows)
              .map(([table, count]) => `${table} ${count}`)
              .join(", ")}`,
          );
          if (report.last) print(`last event: ${describeEvent(report.last)}`);
          for (const problem of report.problems) print(`  ${problem}`);
          const more = report.problemCount - report.problems.length;
          if (more) print(`  … and ${more} more`);
        }
        if (report.problemCount)
          throw new InputError(
            `${options.store}: ${report.problemCount} problems: the store was changed behind its log`,
          );
      });
    });

const describeEvent = ({ seq, at, hash }: NonNullable<Verification["last"]>): string =>
  `${seq}, ${new Date(at).toISOString()}, SHA-256 ${hash}`;

/** Prints what a copy of a store has. */
function printCopy(path: string, { events, last }: Verification): void {
  print(`${path}: ${events} events`);
  if (last) print(`last event: ${describeEvent(last)}`);
}

const backupCommand = () =>
  new Command("backup")
    .description("Copy a label store to a file, also while a server writes to it, and verify the copy")
    .argument("<out>", "file to write; it must not exist")
    .option(...storeOption)
    .option("--json", "print the last event as JSON")
    .action(async (out: string, { store: from, json }: StoreOptions) => {
      const report = await backUp(from, out);
      if (json) print(JSON.stringify({ events: report.events, last: report.last }));
      else printCopy(out, report);
    });

const restoreCommand = () =>
  new Command("restore")
    .description("Make a label store from a backup, after verifying it")
    .argument("<backup>", "file that `labels backup` wrote")
    .option(...storeOption)
    .action(async (backup: string, { store: to }: StoreOptions) => {
      printCopy(to, await restore(backup, to));
    });

/** Most entries of a list that are shown. */
const maxListed = 10;

/** Describes the agreement of labelers as text. */
function describeAgreement(
  agreement: Agreement,
  scale: Scale,
  accuracy: Record<string, number | null> | undefined,
): string {
  const show = ({ value, reason }: Estimate) =>
    value
      ? `${formatNumber(value.value)}  [${formatNumber(value.low)}, ${formatNumber(value.high)}]`
      : `none: ${reason}`;
  const { items, rated, labelers, ratings, observed, pairs, worst, alert } = agreement;
  const more = (all: readonly unknown[]) =>
    all.length > maxListed ? [`… and ${all.length - maxListed} more`] : [];
  return [
    `${items} items, ${rated} of them rated twice or more; ${labelers} labelers, ${ratings} ratings`,
    "",
    `Krippendorff's α  ${show(agreement.alpha)}   (95 % intervals)`,
    `Fleiss' κ         ${show(agreement.fleiss)}`,
    ...(observed === undefined
      ? []
      : [`equal labels      ${formatNumber(observed)} of all pairs of ratings of an item`]),
    ...(alert === undefined ? [] : ["", `! ${alert}`]),
    ...(pairs.length === 0
      ? []
      : [
          "",
          formatTable([
            ["labelers", "Cohen's κ", scale === "nominal" ? "equal" : "weighted agreement", "items"],
            ...pairs
              .slice(0, maxListed)
              .map(({ a, b, kappa, observed, items }) => [
                `${a}, ${b}`,
                kappa === undefined ? "none" : formatNumber(kappa),
                formatNumber(observed),
                String(items),
              ]),
          ]),
          ...more(pairs),
        ]),
    ...(accuracy === undefined
      ? []
      : [
          "",
          formatTable([
            ["labeler", "accuracy"],
            ...Object.entries(accuracy)
              .sort((a, b) => (a[1] ?? 2) - (b[1] ?? 2))
              .map(([name, value]) => [
                name,
                value === null ? "not known: nobody else rated the same items" : formatNumber(value),
              ]),
          ]),
          "(how likely each gives an item its most probable label; Dawid and Skene 1979)",
        ]),
    ...(worst.length === 0
      ? []
      : [
          "",
          "most disagreed about:",
          ...worst.slice(0, maxListed).map(({ item, labels }) => `  ${item}  ${labels.join(", ")}`),
          ...more(worst),
        ]),
  ].join("\n");
}
