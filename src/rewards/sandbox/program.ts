import { type ChildProcess, execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Writable } from "node:stream";
import { InputError } from "../../data/errors.ts";

export type Language = "javascript" | "typescript" | "python";

export interface Limits {
  /** Wall-clock seconds; as many of the processor for each process. */
  seconds: number;
  /** Of all its processes together, and of each. */
  memoryMb: number;
  processes: number;
  /** Of all files that it writes, in a file system in memory that is gone with it. */
  filesMb: number;
  /** Of standard output and of standard error. A program that prints more is ended. */
  outputKb: number;
}

/** Limits in place of the usual ones. */
export type PartialLimits = { [K in keyof Limits]?: Limits[K] | undefined };

export const defaultLimits: Limits = {
  seconds: 10,
  memoryMb: 512,
  processes: 32,
  filesMb: 16,
  outputKb: 256,
};

/** A program that has begun. */
export interface RunningProgram {
  child: ChildProcess;
  /** Ends it and all that it began. */
  kill: () => void;
  /** Takes away what it needed, once it has ended. */
  cleanUp: () => void;
}

/** Gives a process what it reads; it may end before it has read it. */
export function writeInput(child: ChildProcess, fd: number, content: string | Buffer | undefined): void {
  const pipe = child.stdio[fd] as Writable;
  pipe.on("error", () => {});
  pipe.end(content);
}

/** Writes a program into a folder of its own, for all to read. */
export function writeProgram(language: Language, source: string): { folder: string; file: string } {
  const folder = mkdtempSync(join(tmpdir(), "plumbline-program-"));
  const file = join(folder, `main.${extensionOf(language, source)}`);
  writeFileSync(file, source, { mode: 0o644 });
  chmodSync(folder, 0o755);
  return { folder, file };
}

export const prlimit = "/usr/bin/prlimit";

/** For prlimit; of each process. */
export const ulimits = ({ seconds, memoryMb, filesMb }: Limits): string[] => [
  `--cpu=${Math.ceil(seconds)}`,
  `--data=${memoryMb * 1_000_000}`,
  `--fsize=${filesMb * 1024 * 1024}`,
  "--nofile=256",
  "--core=0",
];

interface Interpreter {
  command: string[];
  /** Folders besides /usr that it is in. */
  folders: string[];
}

const outside = (folder: string): string[] =>
  folder === "/usr" || folder.startsWith("/usr/") ? [] : [folder];

/** Both kinds of modules are written, and Node tells them apart by their names. */
export function extensionOf(language: Language, source: string): string {
  if (language === "python") return "py";
  const kind = /^\s*(import\b(?!\s*\()|export\b|await\b)/m.test(source) ? "m" : "c";
  return language === "typescript" ? `${kind}ts` : `${kind}js`;
}

export function interpreter(language: Language): Interpreter {
  if (language === "python") return python();
  if (language === "typescript" && !("typescript" in process.features && process.features.typescript))
    throw new InputError("this Node runs no TypeScript: programs in it need 22.18 or later");
  return { command: [process.execPath], folders: outside(dirname(dirname(process.execPath))) };
}

let pythonFound: Interpreter | undefined;
function python(): Interpreter {
  try {
    pythonFound ??= (() => {
      // The one that a shim or an environment stands for.
      const ask = "import os, sys; print(os.path.realpath(sys.executable), sys.base_prefix, sep='\\n')";
      const [executable = "", prefix = ""] = execFileSync("python3", ["-c", ask], { encoding: "utf8" })
        .trim()
        .split("\n");
      return { command: [executable, "-I"], folders: outside(prefix) };
    })();
    return pythonFound;
  } catch {
    throw new InputError("python3 is not there, which programs in Python need");
  }
}
