import type { Command } from "commander";
import { growthExponent, matmulPeak, memoryRate, samplingCost, trainingCost } from "../eval/cost.ts";
import { loadModel } from "../models/pull.ts";
import { capabilities, threads } from "../tensor/index.ts";
import { dtypeOption } from "./options.ts";
import { formatNumber, formatTable, Progress, print } from "./terminal.ts";

/** Measured cost of a batch, in seconds and in tokens per second. */
interface Cost {
  what: string;
  rows: number;
  length: number;
  seconds: number;
  tokensPerSecond: number;
}

export const define = (command: Command): Command =>
  command
    .option("--model <name>", "also measure the cost of training and sampling with this model")
    .addOption(dtypeOption())
    .option("--json", "print one JSON object")
    .action(async ({ model: name, dtype, json }) => {
      const progress = new Progress(json === true);
      progress.line("measuring the machine");
      const { cpu, fastBf16 } = capabilities();
      const machine = {
        instructions: cpu,
        threads: threads(),
        bfloat16: (await matmulPeak("bfloat16")) / 1e9,
        float32: (await matmulPeak("float32")) / 1e9,
        memory: (await memoryRate()) / 1e9,
      };
      const costs: Cost[] = [];
      if (name !== undefined) {
        const model = (await loadModel(name, dtype ? { dtype } : {})).clone();
        const add = async (what: "training" | "sampling", rows: number, length: number) => {
          progress.line(`${what}: ${rows} × ${length} tokens`);
          const seconds = await (what === "training" ? trainingCost : samplingCost)(model, rows, length);
          costs.push({ what, rows, length, seconds, tokensPerSecond: (rows * length) / seconds });
        };
        for (const rows of [1, 2, 4, 8]) await add("training", rows, 128);
        for (const length of [256, 512, 1024]) await add("training", 1, length);
        for (const rows of [1, 4, 16, 64]) await add("sampling", rows, 32);
        for (const length of [64, 128]) await add("sampling", 16, length);
      }
      if (json) return console.log(JSON.stringify({ machine, costs }));
      print(
        formatTable([
          ["threads", String(machine.threads)],
          ["instructions", machine.instructions],
          ["bfloat16 products", `${formatNumber(machine.bfloat16)} GFLOP/s${bfloat16Note(fastBf16)}`],
          ["float32 products", `${formatNumber(machine.float32)} GFLOP/s`],
          ["memory, read and written", `${formatNumber(machine.memory)} GB/s`],
        ]),
      );
      if (!costs.length) return;
      print("");
      print(
        formatTable([
          ["what", "sequences", "tokens each", "seconds", "tokens/s"],
          ...costs.map(({ what, rows, length, seconds, tokensPerSecond }) => [
            what,
            ...[rows, length].map(String),
            ...[seconds, tokensPerSecond].map(formatNumber),
          ]),
        ]),
      );
      print("\ncost grows as");
      const grows = (what: string, by: "rows" | "length", same: (cost: Cost) => boolean) => {
        const measured = costs.filter((cost) => cost.what === what && same(cost));
        return [
          what,
          by,
          `size^${growthExponent(
            measured.map((c) => c[by]),
            measured.map((c) => c.seconds),
          ).toFixed(2)}`,
        ];
      };
      print(
        formatTable([
          grows("training", "rows", ({ length }) => length === 128),
          grows("training", "length", ({ rows }) => rows === 1),
          grows("sampling", "rows", ({ length }) => length === 32),
          grows("sampling", "length", ({ rows }) => rows === 16),
        ]),
      );
    });

const bfloat16Note = (isFast: boolean): string =>
  isFast ? ": models are computed in bfloat16" : ": models are computed in float32";
