import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
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

export interface RunOptions {
  stdin?: string;
  limits?: SomeLimits;
  signal?: AbortSignal | undefined;
}

/** Milliseconds between looks at how much memory a program holds. */
const lookEvery = 50;

/**
 * Runs a program in a sandbox of its own. What the program does, it cannot make this throw.
 * @throws InputError where there is no sandbox, or no such language
 */
export async function runSandboxed(
  language: Language,
  source: string,
  options: RunOptions = {},
): Promise<Outcome> {
  const { stdin = "", signal } = options;
  const given = Object.entries(options.limits ?? {}).filter(([, value]) => value !== undefined);
  const limit: Limits = { ...limits, ...Object.fromEntries(given) };
  const { extension, command, folders } = interpreter(language, source);
  const file = `/program/main.${extension}`;
  const args = [
    ...bubblewrap(limit, folders),
    ...["--ro-bind-data", "3", file, "--seccomp", "4", "--remount-ro", "/"],
  ];
  const began = performance.now();
  const child = spawn(
    findBubblewrap(),
    [...args, "--", "/usr/bin/prlimit", ...ulimits(limit), "--", ...command, file],
    {
      stdio: ["pipe", "pipe", "pipe", "pipe", "pipe"],
      env: {},
    },
  );
  return new Promise((resolve, reject) => {
    let ended: Outcome["ended"] = "exit";
    const end = (why: Outcome["ended"]) => {
      if (ended === "exit") ended = why;
      child.kill("SIGKILL"); // and all that it began, which is in its namespace
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
    // It may end without having read them.
    for (const [fd, content] of [
      [0, stdin],
      [3, source],
      [4, seccompFilter()],
    ] as const) {
      const pipe = child.stdio[fd] as Writable;
      pipe.on("error", () => {});
      pipe.end(content);
    }
    const timer = setTimeout(() => end("time"), limit.seconds * 1000);
    const looks = setInterval(() => {
      if (residentBytes(child) > limit.memoryMb * 1e6) end("memory");
    }, lookEvery);
    const abort = () => end("time");
    signal?.addEventListener("abort", abort, { once: true });
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(timer);
      clearInterval(looks);
      signal?.removeEventListener("abort", abort);
      if (signal?.aborted) return reject(signal.reason);
      resolve({
        ...{ ended, status: ended === "exit" ? (code ?? 137) : undefined },
        ...{ stdout: stdout(), stderr: stderr(), seconds: (performance.now() - began) / 1000 },
      });
    });
  });
}

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

const ulimits = ({ seconds, memoryMb, processes, filesMb }: Limits): string[] => [
  `--cpu=${Math.ceil(seconds)}`,
  `--data=${memoryMb * 1_000_000}`,
  `--nproc=${processes}`,
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
  if (problem) throw new InputError(`programs are run in a sandbox only, and ${problem}`);
  found = "/usr/bin/bwrap";
  return found;
}

/** Why programs cannot be run here; undefined where they can. */
export function noSandbox(): string | undefined {
  if (process.platform !== "linux") return "bubblewrap, which makes it, is Linux's";
  if (!seccompFilter()) return `there is no filter of system calls for ${process.arch}`;
  if (!existsSync("/usr/bin/bwrap"))
    return "bubblewrap is not there: install your distribution's package bubblewrap";
  if (!existsSync("/usr/bin/prlimit"))
    return "prlimit is not there: install your distribution's package util-linux";
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
