// npm run bench: speed and memory of plumbline and of peers, measured in turn in the same run on the same model and data.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Command, Option } from "commander";
import { fetchSmolLm2 } from "../scripts/setup.mjs";
import { formatNumber, formatTable } from "../src/cli/terminal.ts";
import { fastestSeconds } from "../src/eval/cost.ts";
import { loadModel } from "../src/models/pull.ts";
import { median } from "../src/statistics/numbers.ts";
import { type DType, keep, ops, scope } from "../src/tensor/index.ts";
import {
  type Comparison,
  jobs as comparedJobs,
  comparisonsIn,
  fullRows,
  type Input,
  type PeerType,
  promptsOf,
  readPairs,
} from "./jobs.ts";
import { benchOps } from "./ops.ts";
import { ggufOf, here, type Measured, measure } from "./process.ts";

/** A line of the result. Memory is in GB, rates in `unit`. */
interface Result {
  job: string;
  peer: string;
  setting: string;
  unit: string;
  ours: number;
  theirs: number;
  /** How many times faster we are: the median of the rounds. */
  ratio: number;
  /** The lowest and the highest ratio of a round, if there were several. */
  ratios?: [lowest: number, highest: number];
  memoryOursGb?: number;
  memoryTheirsGb?: number;
  mfu?: number;
  /** Loss at each step of plumbline, and of the peer. */
  losses?: [ours: number[], theirs: number[]];
}

const jobs = [...comparedJobs, "ops"];
const { job, peer, before, data, rounds, json } = new Command("bench")
  .addOption(new Option("--job <name>", "what to time").choices(jobs).makeOptionMandatory())
  .option("--peer <name>", "only peers whose name or setting has this in it")
  .option("--before <checkout>", "compare with another checkout of plumbline in place of the peers")
  .option(
    "--data <file>",
    "comparisons to train on, any format that `reward` reads",
    here("../recipes/starter/comparisons.jsonl"),
  )
  .option("--rounds <n>", "times each side is measured, in turn; rates are of its best", Number, 2)
  .option("--json", "print one JSON array")
  .parse()
  .opts<{ job: string; peer?: string; before?: string; data: string; rounds: number; json?: boolean }>();

const tsx = here("../node_modules/tsx/dist/cli.mjs");
const results: Result[] = job === "ops" ? benchOps() : await compare();
if (json) console.log(JSON.stringify(results));
else {
  const names = ["job", "peer", "setting", "unit", "ours", "theirs", "ratio", "GB ours", "GB theirs", "MFU"];
  const rows = results.map(cells);
  const told = names.map((_, column) => rows.some((row) => row[column]));
  console.log(formatTable([names, ...rows].map((row) => row.filter((_, column) => told[column]))));
  for (const { setting, losses } of results)
    if (losses) console.log(`\n${setting}, loss at each step\n${curves(losses)}`);
}

function curves(sides: readonly number[][]): string {
  return formatTable(
    ["ours", "theirs"].map((name, i) => [name, ...(sides[i] ?? []).map((loss) => loss.toFixed(4))]),
  );
}

function cells(result: Result): string[] {
  const { memoryOursGb, memoryTheirsGb, mfu } = result;
  const gb = (value: number | undefined) => value?.toFixed(2) ?? "";
  return [
    ...[
      result.job,
      result.peer,
      result.setting,
      result.unit,
      formatNumber(result.ours),
      formatNumber(result.theirs),
    ],
    ...[
      formatRatio(result),
      gb(memoryOursGb),
      gb(memoryTheirsGb),
      mfu === undefined ? "" : `${Math.round(100 * mfu)} %`,
    ],
  ];
}

function formatRatio({ ratio, ratios }: Result): string {
  return ratio.toFixed(2) + (ratios ? ` [${ratios.map((limit) => limit.toFixed(2)).join(", ")}]` : "");
}

async function compare(): Promise<Result[]> {
  const folder = mkdtempSync(join(tmpdir(), "plumbline-bench-"));
  try {
    const model = join(folder, "model");
    const loaded = await loadModel("smollm2-135m-instruct", { dtype: "bfloat16" });
    loaded.save(model);
    const pairs = await readPairs(data, loaded.text, 512);
    const quantised = await fetchSmolLm2();
    const common = { model, steps: 1, settings: {}, maxTokens: 0, peer: "" };
    const inputOf = ({ input, ggufType }: Comparison): Input => {
      const batchSize = input.batchSize ?? 8;
      return {
        ...common,
        prompts: input.maxTokens ? promptsOf(loaded.text, pairs, batchSize, 35) : [],
        pairs: takesRows(input) ? fullRows(loaded.text, pairs, 16, 256) : pairs.slice(0, 32),
        ...input,
        gguf: ggufType ? ggufOf(quantised, ggufType) : "",
        batchSize,
      };
    };
    const selected = comparisonsIn(await peerType()).filter(
      (comparison) =>
        comparison.job === job && (!peer || `${comparison.peer} ${comparison.setting}`.includes(peer)),
    );
    return (before ? againstCheckout(selected, before) : selected).map((comparison) =>
      compareOne(comparison, join(folder, "input.json"), inputOf(comparison)),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Chooses the type of the peers: the one in which libtorch, which they use too, multiplies faster here. */
async function peerType(): Promise<PeerType> {
  const seconds = async (dtype: DType) => {
    const x = scope(() => keep(ops.ones([1024, 1024]).to(dtype)));
    const fastest = await fastestSeconds(() => scope(() => void ops.matmul(x, x)), 10);
    x.dispose();
    return fastest;
  };
  return (await seconds("bfloat16")) < (await seconds("float32")) ? "bf16" : "float32";
}

/** Whether both sides train on full rows of tokens. */
function takesRows({ peer = "" }: Partial<Input>): boolean {
  return peer.startsWith("rows");
}

/** The comparisons that differ on plumbline's side, with plumbline in another checkout as the peer. */
function againstCheckout(selected: readonly Comparison[], checkout: string): Comparison[] {
  const distinct = new Map(
    selected.map((comparison) => [
      JSON.stringify({ ...comparison.input, peer: takesRows(comparison.input) }),
      comparison,
    ]),
  );
  return [...distinct.values()].map(({ ggufType: _, ...comparison }) => ({
    ...comparison,
    peer: "before",
    theirs: () => [process.execPath, tsx, resolve(checkout, "bench/ours.ts"), comparison.job],
  }));
}

/** Measures both sides in turn, `rounds` times, each time in fresh processes. */
function compareOne({ job, peer, setting, unit, theirs }: Comparison, file: string, input: Input): Result {
  writeFileSync(file, JSON.stringify(input));
  const [command, ...args] = theirs();
  const sides: { ours: Measured[]; theirs: Measured[] } = { ours: [], theirs: [] };
  for (let round = 0; round < rounds; round++) {
    console.error(`${job}, ${peer}, ${setting}: round ${round + 1} of ${rounds}`);
    sides.ours.push(measure(process.execPath, [tsx, here("ours.ts"), job, file]));
    sides.theirs.push(measure(command, [...args, file]));
  }
  const best = (all: Measured[]) => all.reduce((a, b) => (a.seconds < b.seconds ? a : b));
  const [a, b] = [best(sides.ours), best(sides.theirs)];
  const byRound = sides.ours.map(({ seconds }, i) => (sides.theirs[i] as Measured).seconds / seconds);
  // Both do the same work, but may count its tokens differently: our count is used for both.
  const rate = ({ seconds }: Measured) => (unit === "s/step" ? seconds : a.tokens / seconds);
  return {
    job,
    peer,
    setting,
    unit,
    ours: rate(a),
    theirs: rate(b),
    ratio: median(byRound),
    ...(rounds > 1 ? { ratios: [Math.min(...byRound), Math.max(...byRound)] as [number, number] } : {}),
    memoryOursGb: a.gb,
    memoryTheirsGb: b.gb,
    ...(a.mfu === undefined ? {} : { mfu: a.mfu }),
    ...(a.losses && b.losses ? { losses: [a.losses, b.losses] as [number[], number[]] } : {}),
  };
}
