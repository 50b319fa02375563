import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { InputError } from "../data/errors.ts";
import { seccompFilter } from "./seccomp.ts";

// Programs that nobody has read, such as a model writes, run under bubblewrap: namespaces of their own for processes, the
// network, users and mounts; of the file system only what the interpreter needs, read-only; no environment; a filter of
// system calls.

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
export type SomeLimits = { [K in keyof Limits]?: Limits[K] | undefined };

export const limits: Limits = { seconds: 10, memoryMb: 512, processes: 32, filesMb: 16, outputKb: 256 };

export interface Outcome {
  /** How it ended: by itself, or for what it took too much of. */
  ended: "exit" | "time" | "memory" | "output";
  /** Exit status where it ended by itself; 128 and the signal's number where a signal ended it. */
  status: number | undefined;
  stdout: string;
  stderr: string;
  seconds: number;
}

/** What is to be said to run programs without a sandbox: with all that whoever runs this may do. */
export const inTheOpen = "programs may do anything here";

export interface RunOptions {
  stdin?: string;
  limits?: SomeLimits | undefined;
  /** For a machine that is itself one that may be lost. Of the limits, those on time, output, and memory are kept. */
  withoutSandbox?: typeof inTheOpen | undefined;
  signal?: AbortSignal | undefined;
}

/** Milliseconds between looks at how much memory a program holds. */
const lookEvery = 50;

/**
 * Runs a program in a sandbox of its own, unless told otherwise in words. What the program does, it cannot make this throw.
 * @throws InputError where there is no sandbox, or no such language
 */
export async function runProgram(
  language: Language,
  source: string,
  { stdin = "", signal, withoutSandbox, ...options }: RunOptions = {},
): Promise<Outcome> {
  const given = Object.entries(options.limits ?? {}).filter(([, value]) => value !== undefined);
  const limit: Limits = { ...limits, ...Object.fromEntries(given) };
  const begin = withoutSandbox === inTheOpen ? beginInTheOpen : beginSandboxed;
  const began = performance.now();
  const { child, kill, clear } = begin(interpreter(language, source), source, limit);
  return new Promise((resolve, reject) => {
    let ended: Outcome["ended"] = "exit";
    const end = (why: Outcome["ended"]) => {
      if (ended === "exit") ended = why;
      kill();
    };
    const collect = (stream: Readable) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      stream.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > limit.outputKb * 1024) end("output");
        else chunks.push(chunk);
      });
      return () => Buffer.concat(chunks).toString("utf8");
    };
    const [stdout, stderr] = [collect(child.stdout as Readable), collect(child.stderr as Readable)];
    write(child, 0, stdin);
    const timer = setTimeout(() => end("time"), limit.seconds * 1000);
    const looks = setInterval(() => {
      if (residentBytes(child) > limit.memoryMb * 1e6) end("memory");
    }, lookEvery);
    const abort = () => end("time");
    signal?.addEventListener("abort", abort, { once: true });
    child.once("error", (error) => {
      clear();
      reject(error);
    });
    child.once("close", (code) => {
      clearTimeout(timer);
      clearInterval(looks);
      signal?.removeEventListener("abort", abort);
      clear();
      if (signal?.aborted) return reject(signal.reason);
      resolve({
        ...{ ended, status: ended === "exit" ? (code ?? 137) : undefined },
        ...{ stdout: stdout(), stderr: stderr(), seconds: (performance.now() - began) / 1000 },
      });
    });
  });
}

/** A program that has begun. */
interface Begun {
  child: ChildProcess;
  /** Ends it and all that it began. */
  kill: () => void;
  /** Takes away what it needed, once it has ended. */
  clear: () => void;
}

/** Gives a process what it reads; it may end before it has read it. */
function write(child: ChildProcess, fd: number, content: string | Buffer | undefined): void {
  const pipe = child.stdio[fd] as Writable;
  pipe.on("error", () => {});
  pipe.end(content);
}

function beginSandboxed({ extension, command, folders }: Interpreter, source: string, limit: Limits): Begun {
  const file = `/program/main.${extension}`;
  const child = spawn(
    findBubblewrap(),
    [
      ...bubblewrap(limit, folders),
      ...["--ro-bind-data", "3", file, "--seccomp", "4", "--remount-ro", "/"],
      ...["--", prlimit, ...ulimits(limit), `--nproc=${limit.processes}`, "--", ...command, file],
    ],
    { stdio: ["pipe", "pipe", "pipe", "pipe", "pipe"], env: {} },
  );
  write(child, 3, source);
  write(child, 4, seccompFilter());
  // All that it began is in its namespace.
  return { child, kill: () => child.kill("SIGKILL"), clear: () => {} };
}

function beginInTheOpen({ extension, command }: Interpreter, source: string, limit: Limits): Begun {
  const folder = mkdtempSync(join(tmpdir(), "plumbline-program-"));
  const file = join(folder, `main.${extension}`);
  writeFileSync(file, source);
  const limited = existsSync(prlimit) ? [prlimit, ...ulimits(limit), "--"] : [];
  const [first = "", ...rest] = [...limited, ...command, file];
  // In a group of its own, with what it begins.
  const child = spawn(first, rest, {
    ...{ cwd: folder, detached: true, stdio: ["pipe", "pipe", "pipe"] },
    env: { PATH: process.env.PATH, HOME: folder, LANG: "C.UTF-8" },
  });
  const kill = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    } catch {
      // All of them have ended.
    }
  };
  const clear = () => {
    kill();
    rmSync(folder, { recursive: true, force: true });
  };
  return { child, kill, clear };
}

const prlimit = "/usr/bin/prlimit";

const bubblewrap = ({ filesMb }: Limits, folders: readonly string[]): string[] => [
  ...[
    "--unshare-all",
    "--unshare-user",
    "--disable-userns",
    "--die-with-parent",
    "--new-session",
    "--cap-drop",
    "ALL",
  ],
  ...["--uid", "65534", "--gid", "65534", "--hostname", "sandbox", "--clearenv"],
  ...["--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8"],
  ...["--setenv", "PYTHONDONTWRITEBYTECODE", "1"],
  ...["--ro-bind", "/usr", "/usr", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"],
  ...["bin", "lib", "lib64"].flatMap((name) => ["--symlink", `usr/${name}`, `/${name}`]),
  ...folders.flatMap((folder) => ["--ro-bind", folder, folder]),
  ...["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"],
  ...["--size", "1048576", "--tmpfs", "/dev/shm"],
  ...["--size", String(filesMb * 1024 * 1024), "--tmpfs", "/tmp", "--chdir", "/tmp"],
];

const ulimits = ({ seconds, memoryMb, filesMb }: Limits): string[] => [
  `--cpu=${Math.ceil(seconds)}`,
  `--data=${memoryMb * 1_000_000}`,
  `--fsize=${filesMb * 1024 * 1024}`,
  "--nofile=256",
  "--core=0",
];

/** What the processes of a sandbox hold in memory together. */
function residentBytes(child: ChildProcess): number {
  let pages = 0;
  const add = (pid: number) => {
    try {
      pages += Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
      for (const one of children.split(" ")) if (one) add(Number(one));
    } catch {
      // It has ended.
    }
  };
  if (child.pid !== undefined) add(child.pid);
  return pages * 4096;
}

let found: string | undefined;
function findBubblewrap(): string {
  if (found) return found;
  const problem = noSandbox();
  if (problem) throw new InputError(refusal(problem));
  found = "/usr/bin/bwrap";
  return found;
}

/** @param problem from `noSandbox` */
export const refusal = (problem: string): string =>
  `programs are run in a sandbox only, and ${problem}. On a machine that may be lost, say withoutSandbox: "${inTheOpen}"`;

/** Why programs cannot be run in a sandbox here; undefined where they can. */
export function noSandbox(): string | undefined {
  if (process.platform !== "linux") return "bubblewrap, which makes it, is Linux's";
  if (!seccompFilter()) return `there is no filter of system calls for ${process.arch}`;
  if (!existsSync("/usr/bin/bwrap"))
    return "bubblewrap is not there: install your distribution's package bubblewrap";
  if (!existsSync(prlimit)) return "prlimit is not there: install your distribution's package util-linux";
  try {
    const args = ["--unshare-all", "--unshare-user", "--disable-userns", "--ro-bind", "/", "/", "/bin/true"];
    execFileSync("/usr/bin/bwrap", args, {
      stdio: ["ignore", "ignore", "pipe"],
    });
    return undefined;
  } catch (error) {
    const said = String((error as { stderr?: Buffer }).stderr ?? error).trim();
    if (/disable-userns/.test(said)) return "bubblewrap is too old: 0.8 or later is needed";
    return `bubblewrap cannot make one here: ${said}`;
  }
}

interface Interpreter {
  /** The source's extension. */
  extension: string;
  command: string[];
  /** Folders besides /usr that it is in. */
  folders: string[];
}

const outside = (folder: string): string[] =>
  folder === "/usr" || folder.startsWith("/usr/") ? [] : [folder];

function interpreter(language: Language, source: string): Interpreter {
  if (language === "python") return python();
  if (language === "typescript" && !("typescript" in process.features && process.features.typescript))
    throw new InputError("this Node runs no TypeScript: programs in it need 22.18 or later");
  // Both kinds of modules are written, and Node tells them apart by their names.
  const kind = /^\s*(import\b(?!\s*\()|export\b|await\b)/m.test(source) ? "m" : "c";
  return {
    extension: language === "typescript" ? `${kind}ts` : `${kind}js`,
    ...{ command: [process.execPath], folders: outside(dirname(dirname(process.execPath))) },
  };
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
      return { extension: "py", command: [executable, "-I"], folders: outside(prefix) };
    })();
    return pythonFound;
  } catch {
    throw new InputError("python3 is not there, which programs in Python need");
  }
}
