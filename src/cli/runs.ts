import type { Command } from "commander";
import { findRuns } from "../run/read.ts";
import { formatTable, print } from "./terminal.ts";

export const define = (command: Command): Command =>
  command
    .argument("[folder]", "folder with runs", "runs")
    .option("--json", "print one JSON line per run")
    .action((folder: string, { json }: { json?: boolean }) => {
      const runs = findRuns(folder);
      if (json) for (const run of runs) print(JSON.stringify(run));
      else if (!runs.length) print(`no runs in ${folder}`);
      else
        print(
          formatTable([
            ["run", "stage", "step", "state", "created"],
            ...runs.map(({ run, stage, step, state, created }) => [
              run,
              stage,
              String(step),
              state,
              created.slice(0, 16).replace("T", " "),
            ]),
          ]),
        );
    });
