import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { print, table } from "./terminal.ts";

/** What a run directory tells of itself. */
interface RunSummary {
  run: string;
  stage: string;
  created: string;
  /** The last event's type: done, interrupted, step … */
  state: string;
  step: number;
}

export const runs = () =>
  new Command("runs")
    .description("List the runs in a folder")
    .argument("[folder]", "where to look", "runs")
    .option("--json", "print one JSON line a run")
    .action((folder: string, { json }: { json?: boolean }) => {
      const found = find(folder);
      if (json) for (const run of found) print(JSON.stringify(run));
      else if (!found.length) print(`no runs in ${folder}`);
      else
        print(
          table([
            ["run", "stage", "step", "state", "created"],
            ...found.map((r) => [
              r.run,
              r.stage,
              String(r.step),
              r.state,
              r.created.slice(0, 16).replace("T", " "),
            ]),
          ]),
        );
    });

/** Run directories in a folder, two levels deep, oldest first. */
function find(folder: string, depth = 2): RunSummary[] {
  if (!existsSync(folder)) return [];
  if (existsSync(join(folder, "run.json"))) return [summary(folder)];
  if (!depth) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => find(join(folder, entry.name), depth - 1))
    .sort((a, b) => a.created.localeCompare(b.created));
}

function summary(dir: string): RunSummary {
  const { stage, created } = JSON.parse(readFileSync(join(dir, "run.json"), "utf8"));
  const log = join(dir, "events.jsonl");
  const events = (existsSync(log) ? readFileSync(log, "utf8").split("\n") : []).flatMap((line) => {
    try {
      return [JSON.parse(line) as { type: string; step?: number }];
    } catch {
      return []; // empty, or torn by a kill
    }
  });
  const last = events.at(-1)?.type ?? "empty";
  const running = existsSync(join(dir, "lock")) && last !== "done";
  return {
    run: dir,
    stage,
    created,
    state: last === "done" || last === "interrupted" ? last : running ? "running or killed" : "stopped",
    step: Math.max(0, ...events.map(({ step = 0 }) => step)),
  };
}
