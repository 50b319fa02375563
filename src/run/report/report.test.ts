import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { InputError } from "../../data/errors.ts";
import { plotsOf } from "../../stages/registry.ts";
import { renderChart } from "./charts.ts";
import { renderReport } from "./render.ts";
import { runCharts, runReport } from "./run.ts";

const hostile = `<script>alert(1)</script><img src=x onerror="alert(2)">&amp;'"`;

describe("a chart", () => {
  const chart = (ys: (number | null)[]) =>
    renderChart({
      title: "t",
      xLabel: "step",
      yLabel: "y",
      series: [{ name: "s", points: ys.map((y, x) => [x, y] as const) }],
    });

  it("leaves a gap where a value is not finite", () => {
    const path = /class="line s0" d="([^"]*)"/.exec(chart([1, 2, Number.NaN, 3, null, 4]))?.[1] ?? "";
    expect(path.match(/M/g)).toHaveLength(3);
    expect(path.match(/L/g)).toHaveLength(1);
    expect(path).not.toMatch(/NaN/);
  });

  it("draws one value, equal values, none, and very large or small ones", () => {
    for (const ys of [[5], [2, 2, 2], [0, 0], [1e-12, 2e-12], [-1e300, 1e300], [1e9, 1e9 + 1]]) {
      const svg = chart(ys);
      expect(svg).not.toMatch(/NaN|Infinity/);
      expect(svg.match(/class="tick"/g)?.length).toBeGreaterThan(1);
      expect(svg.match(/class="tick"/g)?.length).toBeLessThan(40);
    }
    expect(chart([null, Number.NaN])).toContain("no values");
  });
});

it("a scatter has points and no line", () => {
  const series = [{ name: "s", points: [[2, 1] as const, [1, 3] as const] }];
  const svg = renderChart({ title: "t", xLabel: "x", yLabel: "y", scatter: true, series });
  expect(svg).not.toContain("<path");
  expect(svg.match(/<circle/g)).toHaveLength(2);
});

describe("a report page", () => {
  it("shows hostile text as text, and loads nothing", () => {
    const page = renderReport({
      title: hostile,
      subtitle: hostile,
      facts: [{ label: hostile, value: hostile }],
      tables: [
        {
          title: hostile,
          note: hostile,
          columns: [hostile],
          rows: [[hostile], [{ value: hostile, interval: hostile }]],
        },
      ],
      charts: [
        {
          title: hostile,
          note: hostile,
          xLabel: hostile,
          yLabel: hostile,
          series: [
            { name: hostile, points: [[0, 1]] },
            { name: hostile, points: [[0, 1]] },
          ],
        },
      ],
      samples: [
        {
          title: hostile,
          note: hostile,
          items: [{ prompt: hostile, answers: [{ name: hostile, text: hostile, note: hostile }] }],
        },
      ],
    });
    expect(page).not.toMatch(/<(script|img|link|a|iframe|object)\b/i);
    expect(page).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
  });
});

describe("the report of a run", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "report-"));
  });
  afterEach(() => rmSync(dir, { recursive: true }));
  const write = (name: string, ...lines: unknown[]) =>
    writeFileSync(
      join(dir, name),
      lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n"),
    );
  const run = { stage: "sft", created: "2026-01-02T03:04:05.000Z", config: { epochs: 1 } };

  it("has its curves, warnings and last metrics, also after a torn line", () => {
    write("run.json", run);
    write(
      "events.jsonl",
      { type: "start", stage: "sft", total: 2 },
      { type: "step", step: 1, total: 2, metrics: { loss: 3, grad_norm: null } },
      { type: "warning", code: "too-long", message: hostile },
      { type: "step", step: 2, total: 2, metrics: { loss: 2.5, grad_norm: 1 } },
      { type: "eval", step: 2, metrics: { eval_loss: 2.75 } },
      `{"type":"step","step":3,"met`,
    );
    const loss = runCharts(dir, plotsOf).find(({ title }) => title === "Loss");
    expect(loss?.series).toEqual([
      {
        name: "train",
        points: [
          [1, 3],
          [2, 2.5],
        ],
      },
      { name: "held out", points: [[2, 2.75]] },
    ]);
    const page = renderReport(runReport(dir, plotsOf));
    expect(page).toContain("too-long");
    expect(page).toContain("not finished");
    expect(page).not.toContain("<script");
  });

  it("of a run without events is a valid page", () => {
    write("run.json", run);
    mkdirSync(join(dir, "checkpoints"));
    expect(renderReport(runReport(dir, plotsOf))).toContain("0 steps logged");
  });

  it("refuses what is not a run", () => {
    expect(() => runReport(dir, plotsOf)).toThrow(InputError);
    write("run.json", `{"stage":`);
    expect(() => runReport(dir, plotsOf)).toThrow(/run.json: not JSON/);
  });
});
