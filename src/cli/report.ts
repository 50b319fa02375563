import { join } from "node:path";
import { Command } from "commander";
import { plotsOf } from "../stages/registry.ts";
import { print } from "./terminal.ts";

export const report = () =>
  new Command("report")
    .description("Write a run's curves, numbers and samples as one HTML page")
    .argument("<run>", "run directory")
    .option("--out <file>", "where to write (default: report.html in the run)")
    .action(async (run: string, { out = join(run, "report.html") }: { out?: string }) => {
      const { reportOfRun } = await import("../run/report/run.ts");
      const { renderReport } = await import("../run/report/render.ts");
      const { writeAtomic } = await import("../data/jsonl.ts");
      const page = renderReport(reportOfRun(run, plotsOf));
      writeAtomic(out, (write) => write(page));
      print(out);
    });
