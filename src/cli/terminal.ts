import { closeSync, openSync, writeSync } from "node:fs";
import type { Event, Metrics } from "../run/events.ts";
import { stageNamed } from "../stages/registry.ts";

/** Aborts at the first Ctrl-C, so that the trainer saves; the second ends the process. */
export function interruptSignal(
  said = "\nfinishing the step and saving; Ctrl-C again to quit at once\n",
): AbortSignal {
  const controller = new AbortController();
  process.on("SIGINT", () => {
    if (controller.signal.aborted) process.exit(130);
    process.stderr.write(said);
    controller.abort();
  });
  process.on("SIGTERM", () => controller.abort());
  return controller.signal;
}

export const formatDuration = (seconds: number): string =>
  seconds < 90
    ? `${Math.round(seconds)} s`
    : seconds < 5400
      ? `${Math.round(seconds / 60)} min`
      : `${(seconds / 3600).toFixed(1)} h`;

export const formatNumber = (value: number): string => {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 0.001 && Math.abs(value) < 1e5
    ? String(Number(value.toPrecision(3)))
    : value.toExponential(1);
};

/** Rows as aligned columns; the first row is the header. */
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

/** Shows events: for people on stderr, a line that is rewritten on a terminal; for programs a JSON line each on stdout. */
export class Progress {
  #json: boolean;
  #stage = "";
  #began = 0;
  #first = 0;
  #lastLine = 0;

  constructor(json: boolean) {
    this.#json = json;
  }

  show(event: Event): void {
    if (this.#json) {
      print(JSON.stringify(event));
      return;
    }
    if (event.type === "start") [this.#stage, this.#began, this.#first] = [event.stage, Date.now(), -1];
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
    if (this.#first < 0) this.#first = step - 1;
    const perStep = (now - this.#began) / 1000 / (step - this.#first);
    const speed = metrics.tokens_per_second
      ? `${formatNumber(Math.round(metrics.tokens_per_second))} tok/s  `
      : "";
    const left =
      step < total
        ? `${formatDuration(perStep * (total - step))} left`
        : `${formatDuration((now - this.#began) / 1000)}`;
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

  /** Work without events: how much of it is done, every two seconds. */
  count(done: number, total: number, what: string): void {
    if (total <= done || Date.now() - this.#lastLine < 2000) return;
    this.#lastLine = Date.now();
    this.line(`  ${done} of ${total} ${what}`);
  }

  line(text: string): void {
    if (this.#json) return;
    process.stderr.write(`${process.stderr.isTTY ? "\r\x1b[2K" : ""}${text}\n`);
  }
}

function formatMetrics(metrics: Metrics, names: readonly (readonly [string, string])[]): string {
  return names
    .filter(([name]) => metrics[name] !== undefined)
    .map(([name, label]) => `${label} ${formatNumber(metrics[name] as number)}`)
    .join("  ");
}

/** To stdout, whole before the process may end. */
export function print(text: string): void {
  writeAll(1, `${text}\n`);
}

function writeAll(fd: number, text: string): void {
  const bytes = Buffer.from(text);
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

/** Writes JSON lines to a new file as they come, or to stdout. */
export function openLines(out: string | undefined): { write: (row: unknown) => void; close: () => void } {
  const fd = out === undefined ? 1 : openSync(out, "w");
  return {
    write: (row) => writeAll(fd, `${JSON.stringify(row)}\n`),
    close: () => out !== undefined && closeSync(fd),
  };
}
