import { join } from "node:path";
import type { Command } from "commander";
import { writeAtomic } from "../data/jsonl.ts";
import { renderReport } from "../run/report/render.ts";
import { runReport } from "../run/report/run.ts";
import { plotsOf } from "../stages/registry.ts";
import { print } from "./terminal.ts";

export const define = (command: Command): Command =>
  command
    .argument("<run>", "run directory")
    .option("--out <file>", "output file (default: report.html in the run)")
    .action(async (run: string, { out = join(run, "report.html") }: { out?: string }) => {
      const page = renderReport(runReport(run, plotsOf));
      writeAtomic(out, (write) => write(page));
      print(out);
    });
