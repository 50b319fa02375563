import type { Command } from "commander";
import { InputError } from "../data/errors.ts";
import { checkData } from "../data/readers.ts";
import type { Columns } from "../data/tables.ts";
import { columnsOption } from "./options.ts";
import { formatDropped, print } from "./terminal.ts";

export function define(group: Command): Command {
  group
    .command("check")
    .description("Detect a file's format, and count the records read and dropped, by reason")
    .argument("<file>", "JSONL, JSON, CSV or TSV file, gzipped or not, or Parquet")
    .addOption(columnsOption())
    .option("--json", "print the counts as JSON")
    .action(async (file: string, { columns, json }: { columns?: Columns; json?: boolean }) => {
      const report = await checkData(file, columns);
      const { refusal, unused } = report;
      if (json) print(JSON.stringify(report));
      else {
        const dropped = Object.values(report.dropped).reduce((a, b) => a + b, 0);
        print(`${file}: ${report.format} (${report.kind} data)`);
        print(`  ${report.rows} rows: ${report.kept} records kept, ${dropped} dropped`);
        for (const line of formatDropped(report.dropped, report.examples)) print(line);
        for (const [note, count] of Object.entries(report.notes))
          print(`  ${String(count).padStart(6)}  ${note}`);
        if (unused.length) print(`  columns that are not used: ${unused.join(", ")}`);
      }
      if (refusal !== undefined) throw new InputError(`${refusal}\nTraining refuses the file for this row.`);
      if (report.kept === 0) throw new InputError(`${file}: no record can be used`);
    });
  return group;
}
