import { describe, expect, it } from "vitest";
import { parseJsonl } from "../data/jsonl.ts";
import { readDrafts } from "../data/readers.ts";
import { type Encoding, encodeRows, parseRows } from "../data/tables.ts";
import { exportRows } from "./export.ts";
import type { ExportFormat } from "./export-formats.ts";
import { taskHistory } from "./history.ts";
import { importTasks, inferRubric, type PreferenceUse } from "./import.ts";
import { nextTask } from "./labeling.ts";
import type { TaskKind } from "./settings.ts";
import { LabelStore } from "./store.ts";
import { verify } from "./verify.ts";

const user = (content: string) => ({ role: "user", content });
const assistant = (content: string) => ({ role: "assistant", content });
const hostile = "‮<script>alert(1)</script>\r\n\"it's\", 1;2\t'é' 👩‍🚀 שלום";
const turns = [user(hostile), assistant("Yes?"), user("Sky?")];
const post = "SUBREDDIT: r/cats\n\nTITLE: A cat\n\nPOST: It sat.\n\nIt stayed.\n\nTL;DR:";

const ranked = [
  { prompt: turns, completions: [hostile, "blue", "42"], ranks: [2, 1, 2], labeler: "ann" },
  { prompt: turns, completions: [hostile, "blue", "42"], ranks: [3, 1, 2], labeler: "7" },
  {
    prompt: [user("Sea?")],
    completions: ["[1]", "true"],
    ranks: [2, 1],
    labeler: "ann",
    models: ["m", null],
  },
];
const compared = [
  { prompt: [user(post)], completions: ["cat", hostile], ranks: [1, 2], strength: 4, labeler: "ann" },
  { prompt: [user(post)], completions: ["cat", hostile], ranks: [2, 1], strength: 1, labeler: "bob" },
];
const rated = [
  {
    instruction: hostile,
    models: ["m", "n"],
    completions: [
      { model: "m", response: "a", annotations: { truthfulness: { Rating: "5" }, honesty: { Rating: "1" } } },
      { model: "n", response: "b", annotations: { truthfulness: { Rating: "2" }, honesty: { Rating: "4" } } },
    ],
  },
];
const thumbed = [
  { prompt: turns, completion: "blue", label: true, labeler: "ann" },
  { prompt: turns, completion: hostile, label: false, labeler: "ann" },
];
const shown = [{ prompt: turns, completion: hostile, labeler: "ann" }];

async function imported(name: string, bytes: Buffer, kind: TaskKind, use?: PreferenceUse) {
  const store = await LabelStore.open(":memory:");
  const read = readDrafts(name, await parseRows(name, bytes));
  const settings = { kind, rubric: kind === "rating" ? inferRubric(read) : [] };
  const project = await store.addProject(null, { name: "p", settings });
  const report = await importTasks(store, null, project, read, use);
  return { store, project, report };
}
type Imported = Awaited<ReturnType<typeof imported>>;

async function exported({ store, project }: Imported, format: ExportFormat, margins = false) {
  const rows: Record<string, unknown>[] = [];
  const dropped: string[] = [];
  const onDrop = (reason: string) => dropped.push(reason);
  for await (const row of exportRows(store, project, format, { margins, onDrop })) rows.push(row);
  return { rows, dropped };
}

/** Returns a line for each completion of each prompt: its judgements, labelers and position. */
async function judgementsIn(from: Imported) {
  const { rows } = await exported(from, "judgements");
  return rows
    .map((row) => {
      const { prompt, completions, answer, labeler, models } = row as unknown as {
        prompt: unknown;
        completions: string[];
        answer: { ranks?: number[]; preference?: number; ratings?: Record<string, number[]>; text?: string };
        labeler: string;
        models: (string | null)[];
      };
      const each = completions.map((text, i) => ({
        text,
        model: models[i],
        rank: answer.ranks?.[i],
        preference: answer.preference && (i ? 9 - answer.preference : answer.preference),
        ratings: Object.entries(answer.ratings ?? {})
          .map(([name, values]) => `${name} ${values[i]}`)
          .sort(),
      }));
      each.sort((a, b) => (a.text < b.text ? -1 : 1));
      return JSON.stringify({ prompt, each, labeler, text: answer.text });
    })
    .sort();
}

const jsonl = (rows: readonly object[]) => Buffer.from(rows.map((row) => JSON.stringify(row)).join("\n"));

describe("labels in other tools' formats", () => {
  it.each<[ExportFormat, TaskKind, object[], Encoding[]]>([
    ["rankings", "ranking", ranked, ["jsonl", "csv", "parquet"]],
    ["rankings", "pairwise", compared, ["jsonl", "csv", "parquet"]],
    ["preference", "pairwise", compared, ["jsonl", "csv", "parquet"]],
    ["prompt-completion", "demonstration", shown, ["jsonl", "csv", "parquet"]],
    ["unpaired", "rating", thumbed, ["jsonl", "csv", "parquet"]],
    ["argilla", "ranking", ranked, ["json"]],
    ["ultrafeedback", "rating", rated, ["jsonl", "parquet"]],
  ])("%s of a %s keep all judgements", async (format, kind, rows, encodings) => {
    const first = await imported("a.jsonl", jsonl(rows), kind, "judgements");
    expect(first.report).toMatchObject({ judgements: rows.length, dropped: {} });
    const out = await exported(first, format);
    expect(out.dropped).toEqual([]);
    for (const encoding of encodings) {
      // Who says it is the file where the format names nobody.
      const again = await imported(`a.${encoding}`, await encodeRows(encoding, out.rows), kind, "judgements");
      const renamed = (await judgementsIn(again)).map((line) =>
        line.replace(`"labeler":"a.${encoding}"`, '"labeler":"a.jsonl"'),
      );
      expect(renamed).toEqual(await judgementsIn(first));
    }
  });

  // These know neither ties nor how much better something is; rankings of three are three pairs.
  it.each<[ExportFormat, Encoding]>([
    ["hh-rlhf", "jsonl"],
    ["openai", "jsonl"],
    ["label-studio", "json"],
    ["open-assistant", "jsonl"],
  ])("%s holds who is better", async (format, encoding) => {
    const one = { ...compared[0], prompt: [user(post)], labeler: "7" };
    const first = await imported("a.jsonl", jsonl([one]), "ranking", "judgements");
    const { rows, dropped } = await exported(first, format);
    expect(dropped).toEqual([]);
    const again = await imported(`a.${encoding}`, await encodeRows(encoding, rows), "ranking", "judgements");
    const nameless = format === "hh-rlhf" || format === "open-assistant";
    const line = nameless ? `"labeler":"a.${encoding}"` : '"labeler":"7"';
    expect(await judgementsIn(again)).toEqual([
      (await judgementsIn(first))[0]?.replace('"labeler":"7"', line),
    ]);
  });

  it("leaves out what a format cannot express, and gives the reason", async () => {
    const system = {
      prompt: [{ role: "system", content: "Be brief." }, user("q")],
      chosen: "a",
      rejected: "b",
    };
    const marked = { prompt: "q", chosen: "a\n\nHuman: b", rejected: "c" };
    const plain = { prompt: "q", chosen: "a", rejected: "c" };
    const from = await imported("a.jsonl", jsonl([system, marked, plain]), "ranking", "judgements");
    const { rows, dropped } = await exported(from, "hh-rlhf");
    expect(rows).toEqual([
      { chosen: "\n\nHuman: q\n\nAssistant: a", rejected: "\n\nHuman: q\n\nAssistant: c" },
    ]);
    expect(dropped).toEqual([
      expect.stringMatching(/importing it again would change it/),
      expect.stringMatching(/importing it again would change it/),
    ]);
    expect((await exported(from, "ultrafeedback")).dropped).toHaveLength(3);
  });

  it("keeps a model's confidence and reasons", async () => {
    const soft = { ...compared[0], probability: 0.75, comment: `kind: ${hostile}`, labeler: "m by c" };
    const from = await imported("a.jsonl", jsonl([soft]), "pairwise", "judgements");
    for (const format of ["rankings", "preference"] as const) {
      const { rows } = await exported(from, format);
      expect(rows).toMatchObject([{ probability: 0.75, comment: soft.comment, labeler: "m by c" }]);
      const again = await imported("a.jsonl", jsonl(rows), "pairwise", "judgements");
      expect(await judgementsIn(again)).toEqual(await judgementsIn(from));
    }
  });

  it("reads each revision as better than the one before", async () => {
    const round = (revision: string) => ({ principle: "kind", critique: `not ${revision}`, revision });
    const rows = [
      { prompt: "p", response: "rude", rounds: [round("kind"), round(" "), round("kinder")], labeler: "m" },
      { prompt: "q", response: "rude", rounds: [round("")], labeler: "m" },
    ];
    const from = await imported("a.jsonl", jsonl(rows), "demonstration", "judgements");
    expect(from.report).toMatchObject({ kept: 1, judgements: 2, dropped: { "nothing was revised": 1 } });
    const [task] = await from.store.db.selectFrom("task").select("id").execute();
    const history = await taskHistory(from.store, from.project, task?.id as string);
    expect(history.completions.map(({ text }) => text)).toEqual(["rude"]);
    expect(history.judgements.map(({ answer, revised }) => [answer.text, answer.comment, revised])).toEqual([
      ["kind", "kind: not kind", true],
      ["kinder", "kind: not kinder", false],
    ]);
    const { rows: learned } = await exported(from, "prompt-completion");
    expect(learned).toMatchObject([{ completion: [assistant("kinder")], comment: "kind: not kinder" }]);
    expect((await verify(from.store)).problems).toEqual([]);
  });

  it("gives margins from 0 for slightly better to 3 for much", async () => {
    const from = await imported("a.jsonl", jsonl(compared), "pairwise", "judgements");
    expect((await exported(from, "preference", true)).rows.map(({ margin }) => margin).sort()).toEqual([
      0, 3,
    ]);
    expect((await exported(from, "rankings", true)).rows.map(({ margins }) => margins).sort()).toEqual([
      0, 3,
    ]);
    expect((await exported(from, "rankings")).rows[0]).not.toHaveProperty("margins");
  });

  it("imports each judgement once, also if a file is imported again, and adds another file's to the same tasks", async () => {
    const from = await imported("a.jsonl", jsonl(compared.slice(0, 1)), "pairwise", "judgements");
    expect(from.report).toMatchObject({ kept: 1, judgements: 1 });
    const swapped = { ...compared[1], completions: [hostile, "cat"], ranks: [1, 2], strength: 1 };
    const read = readDrafts("b.jsonl", parseJsonl("b.jsonl", jsonl([compared[0] as object, swapped])));
    const report = await importTasks(from.store, null, from.project, read, "judgements");
    expect(report).toMatchObject({
      kept: 0,
      judgements: 1,
      dropped: { "judged by this labeler already": 1 },
    });
    const both = await imported("a.jsonl", jsonl(compared), "pairwise", "judgements");
    expect(await judgementsIn(from)).toEqual(await judgementsIn(both));
  });

  it("shuffles completions if the better one is always first", async () => {
    const rows = Array.from({ length: 200 }, (_, i) => ({ prompt: `q${i}`, chosen: "a", rejected: "b" }));
    const { rows: out } = await exported(
      await imported("a.jsonl", jsonl(rows), "ranking", "judgements"),
      "rankings",
    );
    const first = out.filter(({ ranks }) => (ranks as number[])[0] === 1).length;
    // Binomial(200, ½) lies outside with a chance of 10⁻⁵.
    expect(Math.abs(first - 100)).toBeLessThan(32);
  });

  it("converts ratings to rankings by their mean, with ties", async () => {
    const annotations = (...ratings: number[]) =>
      Object.fromEntries(ratings.map((rating, i) => [`c${i}`, { Rating: String(rating) }]));
    const row = {
      instruction: "q",
      completions: [annotations(1, 5), annotations(2, 2), annotations(4, 2), annotations(1, 1)].map(
        (annotations, i) => ({ response: `r${i}`, annotations }),
      ),
    };
    const from = await imported("a.jsonl", jsonl([row]), "rating", "judgements");
    const [ranking] = (await exported(from, "rankings")).rows;
    expect(ranking).toMatchObject({ completions: ["r0", "r1", "r2", "r3"], ranks: [1, 2, 1, 3] });
  });

  it("restricts a task to labelers with the skill that its row names", async () => {
    const rows = [{ prompt: "q", completions: ["a", "b"], skill: "physician" }];
    const { store, project } = await imported("a.jsonl", jsonl(rows), "pairwise");
    const ann = await store.addUser(null, { name: "ann", role: "labeler" });
    expect(await nextTask(store, project, ann)).toBeUndefined();
    const physician = await store.changeUser(ann.id, ann.id, { skills: ["physician"] });
    expect((await nextTask(store, project, physician))?.messages).toEqual([user("q")]);
  });
});
