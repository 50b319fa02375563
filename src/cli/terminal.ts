import { closeSync, openSync, writeSync } from "node:fs";
import type { Event, Metrics } from "../run/events.ts";
import { stageNamed } from "../stages/registry.ts";

/** Returns a signal that the first Ctrl-C aborts, so that the command can save its work. A second Ctrl-C ends the process. */
export function interruptSignal(
  message = "\nfinishing the step and saving; Ctrl-C again to quit at once\n",
): AbortSignal {
  const controller = new AbortController();
  process.on("SIGINT", () => {
    if (controller.signal.aborted) process.exit(130);
    process.stderr.write(message);
    controller.abort();
  });
  process.on("SIGTERM", () => controller.abort());
  return controller.signal;
}

/** Formats seconds as seconds, minutes or hours. */
export const formatDuration = (seconds: number): string =>
  seconds < 90
    ? `${Math.round(seconds)} s`
    : seconds < 5400
      ? `${Math.round(seconds / 60)} min`
      : `${(seconds / 3600).toFixed(1)} h`;

/** Formats a number with three significant digits. */
export const formatNumber = (value: number): string => {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 0.001 && Math.abs(value) < 1e5
    ? String(Number(value.toPrecision(3)))
    : value.toExponential(1);
};

/** Formats rows as aligned columns. The first row is the header. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => (row[i] ?? "").length))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, i) => (i ? cell.padStart(widths[i] as number) : cell.padEnd(widths[i] as number)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Formats the counts of dropped records, one on each line, with the first lines of the file where they are known. */
export function formatDropped(
  dropped: Readonly<Record<string, number>>,
  examples: Readonly<Record<string, readonly number[]>>,
  prefix = "",
): string[] {
  return Object.entries(dropped).map(([reason, count]) => {
    const lines = examples[reason] ?? [];
    const where = lines.length ? ` (line ${lines.join(", ")}${count > lines.length ? ", …" : ""})` : "";
    return `  ${String(count).padStart(6)}  ${prefix}${reason}${where}`;
  });
}

/** Shows a command's progress: on stderr, as a line that is rewritten on a terminal; with `--json` events as JSON lines on stdout. */
export class Progress {
  #json: boolean;
  #stage = "";
  /** Time of the start event. */
  #startTime = 0;
  /** Step that the training started from; −1 before its first step. */
  #startStep = 0;
  #lastLine = 0;

  constructor(json: boolean) {
    this.#json = json;
  }

  /** Shows an event of a training. */
  show(event: Event): void {
    if (this.#json) {
      print(JSON.stringify(event));
      return;
    }
    if (event.type === "start")
      [this.#stage, this.#startTime, this.#startStep] = [event.stage, Date.now(), -1];
    if (event.type === "step") this.#step(event.step, event.total, event.metrics);
    if (event.type === "eval")
      this.line(
        `  step ${event.step}: ${formatMetrics(
          event.metrics,
          Object.keys(event.metrics)
            .slice(0, 5)
            .map((name) => [name, name]),
        )}`,
      );
    if (event.type === "warning") this.line(`  warning: ${event.message}`);
    if (event.type === "phase") this.line(`  ${event.what} …`);
    if (event.type === "resumed") this.line(`  going on from step ${event.step}`);
  }

  #step(step: number, total: number, metrics: Metrics): void {
    const now = Date.now();
    if (this.#startStep < 0) this.#startStep = step - 1;
    const perStep = (now - this.#startTime) / 1000 / (step - this.#startStep);
    const speed = metrics.tokens_per_second
      ? `${formatNumber(Math.round(metrics.tokens_per_second))} tok/s  `
      : "";
    const left =
      step < total
        ? `${formatDuration(perStep * (total - step))} left`
        : `${formatDuration((now - this.#startTime) / 1000)}`;
    const text = `  ${this.#stage} ${step}/${total}  ${formatMetrics(metrics, stageNamed(this.#stage)?.progress ?? [])}  ${speed}${left}`;
    if (process.stderr.isTTY) {
      process.stderr.write(
        `\r\x1b[2K${text.slice(0, (process.stderr.columns || 120) - 1)}${step === total ? "\n" : ""}`,
      );
    } else if (step === total || now - this.#lastLine > 5000) {
      this.#lastLine = now;
      process.stderr.write(`${text}\n`);
    }
  }

  /** Shows how much of some work without events is done, at most every two seconds. */
  count(done: number, total: number, what: string): void {
    if (total <= done || Date.now() - this.#lastLine < 2000) return;
    this.#lastLine = Date.now();
    this.line(`  ${done} of ${total} ${what}`);
  }

  /** Shows a message, except with `--json`. */
  line(text: string): void {
    if (this.#json) return;
    process.stderr.write(`${process.stderr.isTTY ? "\r\x1b[2K" : ""}${text}\n`);
  }
}

/** Formats the metrics of these names, with their labels. */
function formatMetrics(metrics: Metrics, names: readonly (readonly [string, string])[]): string {
  return names
    .filter(([name]) => metrics[name] !== undefined)
    .map(([name, label]) => `${label} ${formatNumber(metrics[name] as number)}`)
    .join("  ");
}

/** Writes to stdout synchronously, so that nothing is lost when the process exits. */
export function print(text: string): void {
  writeAll(1, `${text}\n`);
}

/** Writes to stdout as `print` does, without a line break. */
export function printPart(part: string | Uint8Array): void {
  writeAll(1, part);
}

function writeAll(fd: number, part: string | Uint8Array): void {
  const bytes = typeof part === "string" ? Buffer.from(part) : part;
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EPIPE") process.exit(0);
      if (code !== "EAGAIN") throw error;
    }
  }
}

/** Opens a new file, or stdout, for JSON lines. */
export function openLines(out: string | undefined): { write: (row: unknown) => void; close: () => void } {
  const fd = out === undefined ? 1 : openSync(out, "w");
  return {
    write: (row) => writeAll(fd, `${JSON.stringify(row)}\n`),
    close: () => out !== undefined && closeSync(fd),
  };
}
