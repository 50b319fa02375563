import { spawn } from "node:child_process";
import { z } from "zod";
import { RemoteError } from "../data/errors.ts";
import { postJson } from "../http/post.ts";
import type { Answer } from "./scorer.ts";

interface CallOptions {
  timeoutSeconds: number;
  signal?: AbortSignal | undefined;
}

const toJson = ({ prompt, text, metadata = {} }: Answer) => ({ prompt, completion: text, metadata });

const reply = z.object({ scores: z.array(z.number()) });

/**
 * Scores answers on a server. It answers a POST of `{"samples": [{prompt, completion, metadata}]}` with
 * `{"scores": [number]}`.
 * @throws RemoteError when it cannot be reached or answers something else
 */
export async function scoreByServer(
  url: string,
  answers: readonly Answer[],
  options: CallOptions,
): Promise<number[]> {
  const text = await postJson(url, { samples: answers.map(toJson) }, options);
  try {
    return reply.parse(JSON.parse(text)).scores;
  } catch {
    throw new RemoteError(`${url} should answer {"scores": [number, …]}, not: ${text.slice(0, 300)}`);
  }
}

/**
 * Scores answers with a shell command, which runs once for all of them. It reads a JSON line
 * `{prompt, completion, metadata}` for each and prints a number for each.
 * @throws RemoteError when it fails, takes too long, or prints something else
 */
export async function scoreByCommand(
  command: string,
  answers: readonly Answer[],
  { timeoutSeconds, signal }: CallOptions,
): Promise<number[]> {
  const { stdout } = await runShell(
    command,
    answers.map((answer) => `${JSON.stringify(toJson(answer))}\n`).join(""),
    timeoutSeconds,
    signal,
  );
  const lines = stdout.split("\n").filter((line) => line.trim() !== "");
  if (lines.length !== answers.length)
    throw new RemoteError(
      `reward command "${command}": ${answers.length} completions went in and ${lines.length} lines came out; it should print one number for each line it reads`,
    );
  return lines.map((line) => {
    const score = Number(line);
    if (!Number.isFinite(score))
      throw new RemoteError(
        `reward command "${command}" printed "${line.slice(0, 100)}", which is no number`,
      );
    return score;
  });
}

/** Runs a shell command to its end. @throws RemoteError when it fails or takes longer than `seconds` */
function runShell(
  command: string,
  input: string,
  seconds: number,
  signal?: AbortSignal,
): Promise<{ stdout: string }> {
  return new Promise((resolve, reject) => {
    // In a process group of its own, so that the shell's children are killed with it.
    const child = spawn(command, { shell: true, detached: true, stdio: ["pipe", "pipe", "pipe"] });
    const kill = () => {
      try {
        process.kill(-(child.pid as number), "SIGKILL");
      } catch {
        // The process group has ended.
      }
    };
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      kill();
    }, seconds * 1000);
    signal?.addEventListener("abort", kill, { once: true });
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      stderr = (stderr + text).slice(-2000);
    });
    child.stdin.on("error", () => {}); // the command may end without reading its input
    child.stdin.end(input);
    child.once("error", reject);
    child.once("close", (code, killSignal) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", kill);
      if (signal?.aborted) return reject(signal.reason);
      if (timedOut) return reject(new RemoteError(`reward command "${command}" did not end in ${seconds} s`));
      if (code !== 0)
        return reject(
          new RemoteError(`reward command "${command}" ended with ${code ?? killSignal}: ${stderr.trim()}`),
        );
      resolve({ stdout });
    });
  });
}
