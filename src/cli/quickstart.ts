import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { writeAtomic } from "../data/jsonl.ts";
import * as pipeline from "../quickstart/pipeline.ts";
import { quickstartReport } from "../quickstart/report.ts";
import { renderReport } from "../run/report/render.ts";
import { numeric } from "./options.ts";
import { formatDuration, formatNumber, formatTable, interruptSignal, Progress, print } from "./terminal.ts";

export const define = (command: Command): Command =>
  command
    .option("--fast", "a small version of everything, in 3 minutes")
    .option("--out <folder>", "output folder of the runs and the report", "runs/quickstart")
    .option("--seed <n>", "random seed", numeric(0, true), 0)
    .option("--json", "print events and the result as JSON lines")
    .action(
      async ({
        fast,
        out,
        seed,
        json = false,
      }: {
        fast?: boolean;
        out: string;
        seed: number;
        json?: boolean;
      }) => {
        const signal = interruptSignal();
        const progress = new Progress(json);
        // Removes the runs of an earlier quickstart, and nothing else.
        for (const name of ["sft", "reward", "ppo"])
          if (existsSync(join(out, name, "run.json"))) rmSync(join(out, name), { recursive: true });
        const start = Date.now();
        const result = await pipeline.quickstart({
          out,
          seed,
          signal,
          scale: fast ? pipeline.scales.fast : pipeline.scales.full,
          onStage: (title) => progress.line(`[${formatDuration((Date.now() - start) / 1000)}] ${title}`),
          onProgress: (done, total) => progress.count(done, total, "answers"),
          onEvent: (event) => progress.show(event),
        });
        const { evaluations: _, instructions: __, ...summary } = result;
        const rows = pipeline.resultTable(result);
        writeAtomic(join(out, "result.json"), (write) =>
          write(`${JSON.stringify({ ...summary, table: rows }, null, 2)}\n`),
        );
        const page = renderReport(quickstartReport(result, out));
        writeAtomic(join(out, "report.html"), (write) => write(page));
        if (json) return print(JSON.stringify({ type: "result", ...summary }));
        print(
          `\n${result.instructions.length} held-out instructions, ${pipeline.describeSampling(result)}\n\n${formatTable(rows)}`,
        );
        const { gain } = result;
        print(
          `\nPPO − SFT, gold: ${formatNumber(gain.value)}  95 % interval ${formatNumber(gain.low)} to ${formatNumber(gain.high)}`,
        );
        print(`\nThe same instruction, before and after:`);
        for (const { prompt, answers } of pipeline.examples(result, 3)) {
          print(`\n  ${prompt}`);
          for (const { name, text, gold } of answers)
            print(`    ${name.padEnd(5)} ${gold.toFixed(2)}  ${text.replaceAll("\n", " ⏎ ")}`);
        }
        print(
          `\n${formatDuration(result.seconds)}, at most ${(result.residentBytes / 1e9).toFixed(1)} GB resident`,
        );
        print(
          `report: ${join(out, "report.html")}\ntalk to it: npx plumbline-rlhf chat --model ${join(out, "ppo")}`,
        );
      },
    );
