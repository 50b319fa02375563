import type { Command } from "commander";
import { growthExponent, memoryRate, productRates, samplingCost, trainingCost } from "../eval/cost.ts";
import { loadModel } from "../models/pull.ts";
import { capabilities, peakRates, threads } from "../tensor/index.ts";
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
      const machine = await measureMachine();
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
        for (const rows of [1, 8, 32, 64]) await add("sampling", rows, 32);
        for (const length of [64, 128]) await add("sampling", 32, length);
      }
      if (json) return console.log(JSON.stringify({ machine, costs }));
      printMachine(machine);
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
          grows("sampling", "length", ({ rows }) => rows === 32),
        ]),
      );
    });

type Machine = Awaited<ReturnType<typeof measureMachine>>;

async function measureMachine() {
  const { cpu, fastBf16 } = capabilities();
  return {
    instructions: cpu,
    threads: threads(),
    /** GFLOP/s of all threads, by instruction set. */
    peaks: Object.fromEntries(Object.entries(peakRates()).map(([set, rate]) => [set, rate * threads()])),
    products: await productRates(),
    memory: (await memoryRate()) / 1e9,
    dtype: fastBf16 ? "bfloat16" : "float32",
  };
}

function printMachine(machine: Machine): void {
  print(
    formatTable([
      ["threads", String(machine.threads)],
      ["instructions", `${machine.instructions}, ${reason(machine.instructions)}`],
      ...Object.entries(machine.peaks).map(([set, peak]) => [
        `peak of ${set}`,
        `${formatNumber(peak)} GFLOP/s`,
      ]),
      ["memory, read and written", `${formatNumber(machine.memory)} GB/s`],
      ["models are computed in", `${machine.dtype}, ${dtypeReason(machine)}`],
    ]),
  );
  print("\nlinear layers, GFLOP/s");
  print(
    formatTable([
      ["pass", "rows × inputs × outputs", "plumbline", "libtorch, float32", "libtorch, bfloat16"],
      ...machine.products.map(({ pass, rows, inputs, outputs, ours, float32, bfloat16 }) => [
        pass,
        `${rows} × ${inputs} × ${outputs}`,
        ...[ours, float32, bfloat16].map((rate) => formatNumber(rate / 1e9)),
      ]),
    ]),
  );
}

/** Explains why this instruction set is used. */
function reason(cpu: string): string {
  const requested = process.env.PLUMBLINE_CPU;
  if (requested) return `chosen by PLUMBLINE_CPU=${requested}`;
  return cpu === "none"
    ? "as there are no kernels for this processor"
    : "the fastest here; PLUMBLINE_CPU chooses another";
}

/** Explains why models are computed in this type. */
function dtypeReason({ products, dtype }: Machine): string {
  if (dtype === "float32") return "as there are no kernels for bfloat16";
  const ratio = (rows: number) => {
    const product = products.find((product) => product.pass === "forward" && product.rows === rows);
    return product ? formatNumber(product.ours / product.float32) : "";
  };
  return `${ratio(8)} times as fast as float32 with 8 rows, ${ratio(1024)} times with 1024`;
}
