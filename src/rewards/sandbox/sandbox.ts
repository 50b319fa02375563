import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { startInBubblewrap } from "./bubblewrap.ts";
import { startInContainer } from "./container.ts";
import { defaultLimits, type Language, type Limits, type PartialLimits, writeInput } from "./program.ts";
import { noSandboxPhrase, startUnsandboxed } from "./unsandboxed.ts";

// Untrusted programs, such as those that models write, run in a sandbox: by bubblewrap, or in a container.

/** Result of a program. */
export interface Outcome {
  /** "exit" if it ended by itself, else the limit for which it was killed. */
  ended: "exit" | "time" | "memory" | "processes" | "output";
  /** Exit status if it ended by itself; 128 + the signal's number if a signal ended it. */
  status: number | undefined;
  stdout: string;
  stderr: string;
  seconds: number;
}

export interface RunOptions {
  stdin?: string;
  limits?: PartialLimits | undefined;
  /** Image of docker or podman to run in, in place of bubblewrap. It has the interpreter in its PATH. */
  container?: string | undefined;
  /** Runs without a sandbox, for a machine that is disposable itself. Time, output and memory are still limited. */
  withoutSandbox?: typeof noSandboxPhrase | undefined;
  signal?: AbortSignal | undefined;
}

/** Milliseconds between measurements of a program's memory and processes. */
const pollMs = 50;
/** Processes of bubblewrap beside the program's. */
const bubblewrapProcesses = 2;

/**
 * Runs a program in a sandbox to its end. Whatever the program does, the result is an `Outcome`, not an error.
 * @throws InputError when there is no sandbox on this machine, or the language's interpreter is not installed
 */
export async function runProgram(
  language: Language,
  source: string,
  { stdin = "", signal, container, withoutSandbox, ...options }: RunOptions = {},
): Promise<Outcome> {
  const overrides = Object.entries(options.limits ?? {}).filter(([, value]) => value !== undefined);
  const limit: Limits = { ...defaultLimits, ...Object.fromEntries(overrides) };
  const start = performance.now();
  const {
    child,
    kill,
    cleanUp: clear,
  } = container
    ? startInContainer(container, language, source, limit)
    : (withoutSandbox === noSandboxPhrase ? startUnsandboxed : startInBubblewrap)(language, source, limit);
  return new Promise((resolve, reject) => {
    let ended: Outcome["ended"] = "exit";
    const stop = (reason: Outcome["ended"]) => {
      if (ended !== "exit") return;
      ended = reason;
      kill();
    };
    const collect = (stream: Readable) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      stream.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > limit.outputKb * 1024) stop("output");
        else chunks.push(chunk);
      });
      return () => Buffer.concat(chunks).toString("utf8");
    };
    const [stdout, stderr] = [collect(child.stdout as Readable), collect(child.stderr as Readable)];
    writeInput(child, 0, stdin);
    const timer = setTimeout(() => stop("time"), limit.seconds * 1000);
    const poll = setInterval(() => {
      const { bytes, processes } = measure(child);
      if (bytes > limit.memoryMb * 1e6) stop("memory");
      // Where the kernel cannot limit them: root's, in a container without rights, and those without a sandbox.
      else if (processes > limit.processes + bubblewrapProcesses) stop("processes");
    }, pollMs);
    const abort = () => stop("time");
    signal?.addEventListener("abort", abort, { once: true });
    child.once("error", (error) => {
      clear();
      reject(error);
    });
    child.once("close", (code) => {
      clearTimeout(timer);
      clearInterval(poll);
      signal?.removeEventListener("abort", abort);
      clear();
      if (signal?.aborted) return reject(signal.reason);
      resolve({
        ended,
        status: ended === "exit" ? (code ?? 137) : undefined,
        stdout: stdout(),
        stderr: stderr(),
        seconds: (performance.now() - start) / 1000,
      });
    });
  });
}

/** Counts a process and its descendants, and sums their resident memory. */
function measure(child: ChildProcess): { bytes: number; processes: number } {
  let pages = 0;
  let processes = 0;
  const add = (pid: number) => {
    try {
      pages += Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
      processes++;
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
      for (const id of children.split(" ")) if (id) add(Number(id));
    } catch {
      // The process has ended.
    }
  };
  if (child.pid !== undefined) add(child.pid);
  return { bytes: pages * 4096, processes };
}
