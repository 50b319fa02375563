import { type Chart, renderChart } from "./charts.ts";
import { escapeHtml } from "./escape.ts";

/** A table cell: text, or a value with its interval. */
export type Cell = string | { value: string; interval?: string; best?: boolean };

/** Contents of a report. */
export interface Report {
  title: string;
  subtitle: string;
  /** Key numbers, at the top. */
  facts: { label: string; value: string }[];
  tables: { title: string; note?: string; columns: string[]; rows: Cell[][] }[];
  charts: Chart[];
  /** Prompts with answers of several models or steps. */
  samples: {
    title: string;
    note?: string;
    items: { prompt: string; answers: { name: string; text: string; note?: string; good?: boolean }[] }[];
  }[];
}

/** Renders a report as a self-contained HTML page, without scripts or network requests, for light and dark mode. */
export function renderReport({ title, subtitle, facts, tables, charts, samples }: Report): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><title>${escapeHtml(title)}</title><style>${css}</style></head>
<body><main>
<header><h1>${escapeHtml(title)}</h1><p>${escapeHtml(subtitle)}</p></header>
${facts.length ? `<dl class="facts">${facts.map((fact) => `<div><dt>${escapeHtml(fact.label)}</dt><dd>${escapeHtml(fact.value)}</dd></div>`).join("")}</dl>` : ""}
${tables.map(renderTable).join("\n")}
${charts.length ? `<section><h2>Curves</h2><div class="charts">${charts.map(renderChart).join("\n")}</div></section>` : ""}
${samples.map(renderSamples).join("\n")}
</main></body></html>
`;
}

function renderTable({ title, note, columns, rows }: Report["tables"][number]): string {
  const cell = (value: Cell, i: number) => {
    const tag = i === 0 ? 'th scope="row"' : "td";
    if (typeof value === "string") return `<${tag}>${escapeHtml(value)}</${tag.slice(0, 2)}>`;
    return `<${tag}${value.best ? ' class="best"' : ""}>${escapeHtml(value.value)}${value.interval ? `<small>${escapeHtml(value.interval)}</small>` : ""}</${tag.slice(0, 2)}>`;
  };
  return `<section><h2>${escapeHtml(title)}</h2>${note ? `<p>${escapeHtml(note)}</p>` : ""}<div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(title)}"><table><thead><tr>${columns.map((name) => `<th scope="col">${escapeHtml(name)}</th>`).join("")}</tr></thead><tbody>${rows.map((row) => `<tr>${row.map(cell).join("")}</tr>`).join("")}</tbody></table></div></section>`;
}

function renderSamples({ title, note, items }: Report["samples"][number]): string {
  if (!items.length) return "";
  const answer = ({ name, text, note: about, good }: (typeof items)[number]["answers"][number]) =>
    `<div class="answer${good === undefined ? "" : good ? " good" : " bad"}"><h4>${escapeHtml(name)}${about ? ` <small>${escapeHtml(about)}</small>` : ""}</h4><p>${escapeHtml(text) || "<em>(empty)</em>"}</p></div>`;
  return `<section><h2>${escapeHtml(title)}</h2>${note ? `<p>${escapeHtml(note)}</p>` : ""}${items.map(({ prompt, answers }) => `<article><h3>${escapeHtml(prompt)}</h3><div class="answers">${answers.map(answer).join("")}</div></article>`).join("\n")}</section>`;
}

const css = `
:root{color-scheme:light dark;--ink:#1c2024;--soft:#5b636b;--page:#fbfaf8;--card:#fff;--rule:#e3e0da;--good:#1a7f4b;--s0:#2563a8;--s1:#c2571a;--s2:#1a7f6b;--s3:#8a4fa3;--s4:#b3315f;--s5:#6b7480;--s6:#857614;--s7:#1c2024}
@media (prefers-color-scheme:dark){:root{--ink:#e8e6e3;--soft:#a3a9b0;--page:#15181b;--card:#1d2125;--rule:#343a40;--good:#5fcf97;--s0:#6fb1f2;--s1:#f0985a;--s2:#57c9b3;--s3:#c796dd;--s4:#ef86ab;--s5:#a8b0ba;--s6:#d3c256;--s7:#e8e6e3}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:1180px;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .3rem;letter-spacing:-.01em}h2{font-size:1.2rem;margin:2.5rem 0 .4rem}header p,section>p{color:var(--soft);margin:.2rem 0 1rem;max-width:70ch}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.75rem;margin:1.6rem 0}.facts div{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:.7rem .9rem}dt{color:var(--soft);font-size:.82rem}dd{margin:0;font-size:1.3rem;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;border:1px solid var(--rule);border-radius:10px;background:var(--card)}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}th,td{padding:.5rem .8rem;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}th:first-child{text-align:left}thead th{color:var(--soft);font-weight:500;font-size:.85rem}tbody tr:last-child>*{border-bottom:0}td small{display:block;color:var(--soft);font-size:.78rem}.best{font-weight:650}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:1rem}figure{margin:0;background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:.9rem 1rem;min-width:0}figcaption span{color:var(--soft);font-size:.88rem}svg{display:block;width:100%;height:auto;margin-top:.4rem}
.grid{stroke:var(--rule)}.tick,.label{fill:var(--soft);font-size:11px}.line{fill:none;stroke-width:2;stroke-linejoin:round}.ghost{opacity:.28;stroke-width:1.2}.s0{stroke:var(--s0)}.s1{stroke:var(--s1)}.s2{stroke:var(--s2)}.s3{stroke:var(--s3)}.s4{stroke:var(--s4)}.s5{stroke:var(--s5)}.s6{stroke:var(--s6)}.s7{stroke:var(--s7)}.dot{stroke:none}.dot.s0{fill:var(--s0)}.dot.s1{fill:var(--s1)}.dot.s2{fill:var(--s2)}.dot.s3{fill:var(--s3)}.dot.s4{fill:var(--s4)}.dot.s5{fill:var(--s5)}.dot.s6{fill:var(--s6)}.dot.s7{fill:var(--s7)}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.3rem 0 0;font-size:.85rem;color:var(--soft)}.legend i{display:inline-block;width:14px;height:3px;margin-right:.4rem;vertical-align:middle}.legend .s0{background:var(--s0)}.legend .s1{background:var(--s1)}.legend .s2{background:var(--s2)}.legend .s3{background:var(--s3)}.legend .s4{background:var(--s4)}.legend .s5{background:var(--s5)}.legend .s6{background:var(--s6)}.legend .s7{background:var(--s7)}
details{margin-top:.3rem;font-size:.82rem}summary{color:var(--soft);cursor:pointer}details table{margin-top:.4rem}details th,details td{padding:.15rem .5rem}.empty{color:var(--soft)}
article{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:.9rem 1rem;margin:.75rem 0}h3{font-size:1rem;margin:0 0 .6rem;font-weight:600;white-space:pre-wrap;overflow-wrap:anywhere}.answers{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,220px),1fr));gap:.9rem}.answer{border-left:3px solid var(--rule);padding-left:.7rem;min-width:0}.answer.good{border-color:var(--good)}h4{margin:0;font-size:.82rem;color:var(--soft);font-weight:600}h4 small{font-weight:400}.answer p{margin:.15rem 0 0;white-space:pre-wrap;overflow-wrap:anywhere}
@media print{body{background:#fff}figure,article{break-inside:avoid}}
`;
