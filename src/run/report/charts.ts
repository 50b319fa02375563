import { escapeHtml } from "./escape.ts";

/** A line of a chart. */
export interface Series {
  name: string;
  /** Points of the line. One whose y is not finite makes a gap. */
  points: readonly (readonly [x: number, y: number | null])[];
}

/** A line chart or scatter plot. */
export interface Chart {
  title: string;
  /** Sentence about what it shows. */
  note?: string;
  xLabel: string;
  yLabel: string;
  series: readonly Series[];
  /** Draws points without lines. */
  scatter?: boolean;
}

const [width, height] = [560, 260];
const margin = { left: 68, right: 14, top: 12, bottom: 38 };

/** Renders a chart as inline SVG, with its values in a table for screen readers. */
export function renderChart(chart: Chart): string {
  const finite = chart.series.flatMap(({ points }) => points.filter(([, y]) => Number.isFinite(y))) as [
    number,
    number,
  ][];
  const heading = `<figcaption><strong>${escapeHtml(chart.title)}</strong>${chart.note ? ` <span>${escapeHtml(chart.note)}</span>` : ""}</figcaption>`;
  if (!finite.length) return `<figure>${heading}<p class="empty">no values</p></figure>`;
  const x = scale(
    finite.map(([v]) => v),
    margin.left,
    width - margin.right,
  );
  const y = scale(
    finite.map(([, v]) => v),
    height - margin.bottom,
    margin.top,
  );
  const grid = y.ticks.map(
    (t) =>
      `<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${y.at(t)}" y2="${y.at(t)}"/><text class="tick" x="${margin.left - 6}" y="${y.at(t) + 3.5}" text-anchor="end">${label(t)}</text>`,
  );
  const xTicks = x.ticks.map(
    (t) =>
      `<text class="tick" x="${x.at(t)}" y="${height - margin.bottom + 16}" text-anchor="middle">${label(t)}</text>`,
  );
  const lines = chart.series.map(({ points }, i) => {
    const raw = `<path class="line s${i}${points.length > 20 ? " ghost" : ""}" d="${path(points, x.at, y.at)}"/>`;
    const smooth =
      points.length > 20 ? `<path class="line s${i}" d="${path(smoothed(points), x.at, y.at)}"/>` : "";
    const drawn = chart.scatter ? "" : raw + smooth;
    const dots =
      points.length > 40
        ? ""
        : points
            .filter(([, v]) => Number.isFinite(v))
            .map(
              ([px, py]) =>
                `<circle class="dot s${i}" cx="${x.at(px)}" cy="${y.at(py as number)}" r="2.5"><title>${escapeHtml(`${chart.series[i]?.name}: ${chart.xLabel} ${label(px)}, ${label(py as number)}`)}</title></circle>`,
            )
            .join("");
    return drawn + dots;
  });
  const legend =
    chart.series.length < 2
      ? ""
      : `<p class="legend">${chart.series.map(({ name }, i) => `<span><i class="s${i}"></i>${escapeHtml(name)}</span>`).join("")}</p>`;
  return `<figure>${heading}${legend}<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(`${chart.title}: ${chart.series.map(summary).join("; ")}`)}">
${grid.join("")}${xTicks.join("")}<text class="label" x="${(margin.left + width - margin.right) / 2}" y="${height - 6}" text-anchor="middle">${escapeHtml(chart.xLabel)}</text><text class="label" transform="translate(12 ${(height - margin.bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(chart.yLabel)}</text>${lines.join("")}</svg>${values(chart)}</figure>`;
}

const summary = ({ name, points }: Series): string => {
  const finite = points.filter(([, y]) => Number.isFinite(y)) as [number, number][];
  return finite.length
    ? `${name} from ${label(finite[0]?.[1] ?? 0)} to ${label(finite.at(-1)?.[1] ?? 0)}`
    : `${name} has no values`;
};

/** Renders the values of a chart as a table. */
function values({ xLabel, series }: Chart): string {
  const xs = [...new Set(series.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
  const every = Math.ceil(xs.length / 50);
  const yByX = series.map(({ points }) => new Map(points));
  const rows = xs
    .filter((_, i) => i % every === 0)
    .map(
      (x) =>
        `<tr><th scope="row">${label(x)}</th>${yByX.map((ys) => `<td>${Number.isFinite(ys.get(x)) ? label(ys.get(x) as number) : "–"}</td>`).join("")}</tr>`,
    );
  return `<details><summary>values</summary><table><thead><tr><th scope="col">${escapeHtml(xLabel)}</th>${series.map(({ name }) => `<th scope="col">${escapeHtml(name)}</th>`).join("")}</tr></thead><tbody>${rows.join("")}</tbody></table></details>`;
}

/** Makes the path data of a line. */
function path(points: Series["points"], x: (v: number) => number, y: (v: number) => number): string {
  let penDown = false;
  return points
    .map(([px, py]) => {
      if (!Number.isFinite(py)) {
        penDown = false;
        return "";
      }
      const command = penDown ? "L" : "M";
      penDown = true;
      return `${command}${x(px).toFixed(1)} ${y(py as number).toFixed(1)}`;
    })
    .join("");
}

/** Smooths points by an exponential moving average over about a tenth of them. */
function smoothed(points: Series["points"]): Series["points"] {
  const keep = 1 - 1 / Math.max(2, points.length / 10);
  let mean: number | undefined;
  return points.map(([x, y]) => {
    if (!Number.isFinite(y)) return [x, y] as const;
    mean = mean === undefined ? (y as number) : keep * mean + (1 - keep) * (y as number);
    return [x, mean] as const;
  });
}

/** Makes a linear scale from values to pixels, with round ticks. */
function scale(
  values: readonly number[],
  from: number,
  to: number,
): { at: (v: number) => number; ticks: number[] } {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5, 10].find((m) => m * power >= rough) as number) * power;
  const ticks: number[] = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step / 1e6; t += step)
    ticks.push(Math.abs(t) < step / 1e6 ? 0 : t);
  return { at: (v) => from + ((v - low) / (high - low)) * (to - from), ticks };
}

/** Formats a number for an axis or a table. */
export function label(value: number): string {
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6))
    return value.toExponential(1).replace("-", "−");
  return String(Number(value.toPrecision(4))).replace("-", "−");
}
