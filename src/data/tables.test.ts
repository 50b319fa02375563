import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { readComparisons } from "./readers.ts";
import { encodeRows, parseRows, readRows } from "./tables.ts";

const dir = mkdtempSync(join(tmpdir(), "plumbline-tables-"));
afterAll(() => rmSync(dir, { recursive: true }));
const golden = fileURLToPath(new URL("../../test/golden/preference.parquet", import.meta.url));

const hostile = "\u202e<script>\r\n\"it's\", 1;2\t'é' 👩‍🚀\u0000";
const assistant = (content: string) => [{ role: "assistant", content }];
/** What make_parquet.py writes, its nulls absent. */
const rows = [
  {
    prompt: [
      { role: "system", content: "Be brief." },
      { role: "user", content: hostile },
    ],
    chosen: assistant("42"),
    rejected: assistant(`${hostile}no`),
    labeler: "007",
    strength: 3,
    models: ["a", null],
    weight: 0.25,
  },
  {
    prompt: [{ role: "user", content: "[1, 2]" }],
    chosen: assistant("true"),
    rejected: assistant(" null "),
    strength: 1,
    weight: 1,
  },
];

test("a Parquet file of Hugging Face datasets gives the rows that it was made of", async () => {
  expect((await readRows(golden)).map(({ value }) => value)).toEqual(rows);
});

test.each(["csv", "parquet", "jsonl"] as const)(
  "rows written as %s read back as they were",
  async (encoding) => {
    const read = await parseRows(`a.${encoding}`, await encodeRows(encoding, rows));
    expect(read.map(({ value }) => value)).toEqual(rows);
  },
);

test.each(["csv", "parquet"] as const)("any text goes through %s as it is", async (encoding) => {
  const conversation = fc.string({ unit: "grapheme" }).map((text) => assistant(text));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ chosen: conversation, rejected: conversation }), { minLength: 1 }),
      async (some) => {
        const read = await parseRows(`a.${encoding}`, await encodeRows(encoding, some));
        expect(read.map(({ value }) => value)).toEqual(some);
      },
    ),
    { numRuns: 50 },
  );
});

test("a spreadsheet's cells are text where text belongs, and values elsewhere", async () => {
  const path = join(dir, "pairs.csv");
  writeFileSync(
    path,
    '\uFEFFprompt,chosen,rejected,weight,labeler\r\n"What is\n6 × 7?",42,"4,2",0.5,007\r\nTrue?,true,,1,\r\n',
  );
  const { records, report } = await readComparisons(path);
  expect(records).toEqual([
    {
      prompt: [{ role: "user", content: "What is\n6 × 7?" }],
      completions: ["42", "4,2"],
      ranks: [0, 1],
      weight: 0.5,
      labeler: "007",
    },
  ]);
  expect(report).toMatchObject({ format: "preference", rows: 2, dropped: { "empty reply": 1 } });
});

test.each([
  ["quotes.csv", 'prompt,chosen\n"a,b\n', /quotes\.csv: not valid CSV: .*Quote/],
  ["ragged.csv", "prompt,chosen\na\n", /ragged\.csv: not valid CSV: .*line 2/],
  ["header.csv", "prompt,chosen\n", /header\.csv: the file has no rows/],
  ["book.xlsx", "PK", /book\.xlsx: this is a spreadsheet or an archive: save the sheet as CSV/],
  ["book.csv", "PK\x03\x04…", /book\.csv: this is a spreadsheet or an archive: save the sheet as CSV/],
  ["latin.csv", Buffer.from("prompt\n\xe9", "latin1"), /latin\.csv: not UTF-8 text/],
  ["text.parquet", "no", /text\.parquet: not a Parquet file, or a damaged one/],
  [
    "cut.parquet",
    readFileSync(golden).subarray(0, -40),
    /cut\.parquet: not a Parquet file, or a damaged one/,
  ],
])("%s is refused with the reason", async (name, content, message) => {
  const path = join(dir, name);
  writeFileSync(path, content);
  await expect(readRows(path)).rejects.toThrow(message);
});

test("tab-separated values are read, with quotation marks as they are or quoted", async () => {
  const path = join(dir, "pairs.tsv");
  writeFileSync(path, 'prompt\tchosen\trejected\n6 × 7, "please"?\t42\t"4\t2"\n');
  const { records } = await readComparisons(path);
  expect(records).toMatchObject([
    { prompt: [{ role: "user", content: '6 × 7, "please"?' }], completions: ["42", "4\t2"] },
  ]);
});
