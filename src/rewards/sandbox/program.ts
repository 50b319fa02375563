import { type ChildProcess, execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Writable } from "node:stream";
import { InputError } from "../../data/errors.ts";

/** Languages that programs may be in. */
export type Language = "javascript" | "typescript" | "python";

/** Limits of a program. */
export interface Limits {
  /** Wall-clock seconds of the program, and CPU seconds of each of its processes. */
  seconds: number;
  /** Megabytes of memory of all its processes together, and of each. */
  memoryMb: number;
  /** Number of processes. */
  processes: number;
  /** Mebibytes of all files that it writes, to a file system in memory. */
  filesMb: number;
  /** Kibibytes of standard output, and of standard error. A program that prints more is killed. */
  outputKb: number;
}

/** Limits that replace the defaults. */
export type PartialLimits = { [K in keyof Limits]?: Limits[K] | undefined };

export const defaultLimits: Limits = {
  seconds: 10,
  memoryMb: 512,
  processes: 32,
  filesMb: 16,
  outputKb: 256,
};

/** A program that has been started. */
export interface RunningProgram {
  child: ChildProcess;
  /** Kills the program and its children. */
  kill: () => void;
  /** Removes its files, after it has ended. */
  cleanUp: () => void;
}

/** Writes to a pipe of a process, which may end before it has read everything. */
export function writeInput(child: ChildProcess, fd: number, content: string | Buffer | undefined): void {
  const pipe = child.stdio[fd] as Writable;
  pipe.on("error", () => {});
  pipe.end(content);
}

/** Writes a program to a new folder that all users can read. */
export function writeProgram(language: Language, source: string): { folder: string; file: string } {
  const folder = mkdtempSync(join(tmpdir(), "plumbline-program-"));
  const file = join(folder, `main.${extensionOf(language, source)}`);
  writeFileSync(file, source, { mode: 0o644 });
  chmodSync(folder, 0o755);
  return { folder, file };
}

export const prlimit = "/usr/bin/prlimit";

/** Options of prlimit, which limit each process. */
export const ulimits = ({ seconds, memoryMb, filesMb }: Limits): string[] => [
  `--cpu=${Math.ceil(seconds)}`,
  `--data=${memoryMb * 1_000_000}`,
  `--fsize=${filesMb * 1024 * 1024}`,
  "--nofile=256",
  "--core=0",
];

/** How programs of a language are run. */
interface Interpreter {
  command: string[];
  /** Folders that it needs, other than /usr. */
  folders: string[];
}

const outsideUsr = (folder: string): string[] =>
  folder === "/usr" || folder.startsWith("/usr/") ? [] : [folder];

/** Returns the file extension of a program. Node tells ES modules and CommonJS apart by it. */
export function extensionOf(language: Language, source: string): string {
  if (language === "python") return "py";
  const kind = /^\s*(import\b(?!\s*\()|export\b|await\b)/m.test(source) ? "m" : "c";
  return language === "typescript" ? `${kind}ts` : `${kind}js`;
}

/** Returns the interpreter of a language. @throws InputError when it is not installed */
export function interpreter(language: Language): Interpreter {
  if (language === "python") return python();
  if (language === "typescript" && !("typescript" in process.features && process.features.typescript))
    throw new InputError("this Node runs no TypeScript: programs in it need 22.18 or later");
  return { command: [process.execPath], folders: outsideUsr(dirname(dirname(process.execPath))) };
}

let pythonInterpreter: Interpreter | undefined;
function python(): Interpreter {
  try {
    pythonInterpreter ??= (() => {
      // Resolves shims and virtual environments to the real executable.
      const script = "import os, sys; print(os.path.realpath(sys.executable), sys.base_prefix, sep='\\n')";
      const [executable = "", prefix = ""] = execFileSync("python3", ["-c", script], { encoding: "utf8" })
        .trim()
        .split("\n");
      return { command: [executable, "-I"], folders: outsideUsr(prefix) };
    })();
    return pythonInterpreter;
  } catch {
    throw new InputError("python3 is not there, which programs in Python need");
  }
}
