import { mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { DiskError, diskError, InputError } from "./errors.ts";
import { readJsonl, writeAtomic, writeJsonl } from "./jsonl.ts";

const dir = mkdtempSync(join(tmpdir(), "plumbline-jsonl-"));
const file = (name: string, content: string | Uint8Array) => {
  writeFileSync(join(dir, name), content);
  return join(dir, name);
};

test("skips blank lines and a byte order mark, and keeps line numbers", () => {
  expect(readJsonl(file("a.jsonl", '\uFEFF{"a":1}\r\n\n  \n{"a":2}'))).toEqual([
    { line: 1, value: { a: 1 } },
    { line: 4, value: { a: 2 } },
  ]);
});

test("reads gzip, a JSON array, and JSON lines named .json", () => {
  const expected = [
    { line: 1, value: 1 },
    { line: 2, value: 2 },
  ];
  expect(readJsonl(file("a.jsonl.gz", gzipSync("1\n2\n")))).toEqual(expected);
  expect(readJsonl(file("zipped.jsonl", gzipSync("1\n2\n")))).toEqual(expected);
  expect(readJsonl(file("plain.jsonl.gz", "1\n2\n"))).toEqual(expected);
  expect(readJsonl(file("a.json", " [1,\n 2]"))).toEqual(expected);
  expect(readJsonl(file("lines.json", "1\n2"))).toEqual(expected);
});

test.each([
  ["bad.jsonl", '{"a":1}\n{"a":', /bad\.jsonl:2: not valid JSON/],
  ["utf8.jsonl", Buffer.from([0x31, 0x0a, 0x22, 0xff, 0x22]), /utf8\.jsonl:2: not UTF-8/],
  ["empty.jsonl", "\n \n", /empty\.jsonl: the file is empty/],
  ["none.json", "[]", /none\.json: the file is empty/],
  ["cut.jsonl.gz", gzipSync("1\n2\n").subarray(0, 15), /cut\.jsonl\.gz: the gzip data is damaged/],
])("%s is refused", (name, content, message) => {
  const path = file(name, content);
  expect(() => readJsonl(path)).toThrow(InputError);
  expect(() => readJsonl(path)).toThrow(message);
});

test("a missing file and a directory are refused", () => {
  expect(() => readJsonl(join(dir, "absent.jsonl"))).toThrow(/absent\.jsonl: there is no such file/);
  expect(() => readJsonl(dir)).toThrow(/this is a directory/);
});

test("what is written reads back", () => {
  const path = join(dir, "round.jsonl");
  fc.assert(
    fc.property(fc.array(fc.jsonValue({ noUnicodeString: false }), { minLength: 1 }), (values) => {
      writeJsonl(path, values);
      const expected = values.map((value) => JSON.parse(JSON.stringify(value)));
      expect(readJsonl(path).map((row) => row.value)).toEqual(expected);
    }),
  );
});

test("a write that fails leaves the old file and no other", () => {
  const path = file("kept.txt", "old");
  expect(() =>
    writeAtomic(path, (write) => {
      write("new");
      throw new Error("stop");
    }),
  ).toThrow("stop");
  expect(readdirSync(dir).filter((name) => name.startsWith("kept"))).toEqual(["kept.txt"]);
});

test("a full disk is an error with the path", () => {
  const full = Object.assign(new Error("write"), { code: "ENOSPC" });
  expect(diskError(full, "/runs/a")).toBeInstanceOf(DiskError);
  expect(String(diskError(full, "/runs/a"))).toMatch(/\/runs\/a: the disk is full.*saved/);
  expect(diskError("other", "/runs/a")).toBe("other");
});
