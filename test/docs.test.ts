import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string) => readFileSync(join(root, path), "utf8");
const docs = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md") && name !== "log.md") // the log tells of code as it was
    .map((name) => `docs/${name}`),
];
const inCode = (text: string): string[] => [...text.matchAll(/`([^`\n]+)`/g)].map(([, code = ""]) => code);

it.each(docs)("every path that %s names is there", (doc) => {
  const paths = inCode(read(doc)).filter((code) =>
    /^(src|web|native|test|bench|scripts|docs)\/[\w./-]*$/.test(code),
  );
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

describe("docs/architecture.md", () => {
  const files = ["src", "web/src"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.tsx?$/.test(name))
      .map((name) => join(folder, name)),
  );
  const source = files.map(read).join("\n");
  const names = inCode(read("docs/architecture.md"))
    .flatMap((code) => code.split("."))
    .filter((code) => /^[A-Za-z]\w+(\(\))?$/.test(code))
    .map((code) => code.replace("()", ""));

  it("names much of the code", () => expect(new Set(names).size).toBeGreaterThan(50));
  it.each([...new Set(names)])("%s is a name in the code", (name) => {
    expect(
      new RegExp(`\\b${name}\\b`).test(source) || files.some((file) => file.includes(`${name}.ts`)),
    ).toBe(true);
  });
});
