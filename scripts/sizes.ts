// Prints the largest trainer, file and function of src and web/src, and fails where one is over its budget. Tests and
// generated code have none.

import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import ts from "typescript";

interface Size {
  what: string;
  lines: number;
}

const read = (path: string): string => readFileSync(path, "utf8");
const linesIn = (text: string): number => text.trimEnd().split("\n").length;

const files = ["src", "web/src"]
  .flatMap((root) => readdirSync(root, { recursive: true, encoding: "utf8" }).map((path) => join(root, path)))
  .filter((path) => /\.(ts|tsx|css)$/.test(path) && !/\.(test|generated)\.tsx?$/.test(path));

/** Returns a function's name, else the name of the variable or property that holds it, else its line. */
function nameOf(node: ts.SignatureDeclaration, line: number): string {
  const named = [node, node.parent].find(
    (candidate): candidate is ts.NamedDeclaration => "name" in candidate && candidate.name !== undefined,
  );
  return named?.name?.getText() ?? `line ${line}`;
}

/** Lists all functions of a file, nested ones too. */
function functionsIn(path: string): Size[] {
  const source = ts.createSourceFile(path, read(path), ts.ScriptTarget.Latest, true);
  const lineAt = (position: number) => source.getLineAndCharacterOfPosition(position).line + 1;
  const functions: Size[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && "body" in node && node.body) {
      const start = lineAt(node.getStart());
      functions.push({ what: `${path} ${nameOf(node, start)}`, lines: lineAt(node.end) - start + 1 });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return functions;
}

const sizes = files.map((path) => ({ what: path, lines: linesIn(read(path)) }));
const budgets: [name: string, most: number, sizes: Size[]][] = [
  ["trainer", 200, sizes.filter(({ what }) => basename(what) === "train.ts")],
  ["file", 400, sizes],
  ["function", 80, files.filter((path) => !path.endsWith(".css")).flatMap(functionsIn)],
];

for (const [name, most, all] of budgets) {
  const sorted = all.toSorted((a, b) => b.lines - a.lines);
  console.log(`${name}: at most ${most} lines`);
  for (const size of sorted.filter(({ lines }, i) => i === 0 || lines > most)) {
    const isOver = size.lines > most;
    console.log(`  ${size.lines}  ${size.what}${isOver ? "  OVER" : ""}`);
    if (isOver) process.exitCode = 1;
  }
}
