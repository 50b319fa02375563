import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";
import { startInBubblewrap } from "./bubblewrap.ts";
import { startInContainer } from "./container.ts";
import { defaultLimits, type Language, type Limits, type PartialLimits, writeInput } from "./program.ts";
import { noSandboxPhrase, startUnsandboxed } from "./unsandboxed.ts";

// Programs that nobody has read, such as a model writes, run in a sandbox: by bubblewrap, or in a container.

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
  limits?: PartialLimits | undefined;
  /** A container's image, with the interpreter in its path, in place of bubblewrap: what docker or podman has. */
  container?: string | undefined;
  /** For a machine that is itself one that may be lost. Of the limits, those on time, output, and memory are kept. */
  withoutSandbox?: typeof noSandboxPhrase | undefined;
  signal?: AbortSignal | undefined;
}

/** Milliseconds between looks at how much memory a program holds. */
const memoryPollMs = 50;

/**
 * Runs a program in a sandbox of its own, unless told otherwise in words. What the program does, it cannot make this throw.
 * @throws InputError where there is no sandbox, or no such language
 */
export async function runProgram(
  language: Language,
  source: string,
  { stdin = "", signal, container, withoutSandbox, ...options }: RunOptions = {},
): Promise<Outcome> {
  const given = Object.entries(options.limits ?? {}).filter(([, value]) => value !== undefined);
  const limit: Limits = { ...defaultLimits, ...Object.fromEntries(given) };
  const began = performance.now();
  const {
    child,
    kill,
    cleanUp: clear,
  } = container
    ? startInContainer(container, language, source, limit)
    : (withoutSandbox === noSandboxPhrase ? startUnsandboxed : startInBubblewrap)(language, source, limit);
  return new Promise((resolve, reject) => {
    let ended: Outcome["ended"] = "exit";
    const end = (why: Outcome["ended"]) => {
      if (ended !== "exit") return;
      ended = why;
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
    writeInput(child, 0, stdin);
    const timer = setTimeout(() => end("time"), limit.seconds * 1000);
    const looks = setInterval(() => {
      if (residentBytes(child) > limit.memoryMb * 1e6) end("memory");
    }, memoryPollMs);
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
        ended,
        status: ended === "exit" ? (code ?? 137) : undefined,
        stdout: stdout(),
        stderr: stderr(),
        seconds: (performance.now() - began) / 1000,
      });
    });
  });
}

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
