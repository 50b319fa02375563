import { spawn } from "node:child_process";
import { z } from "zod";
import { RemoteError } from "../data/errors.ts";
import { postJson } from "../http/post.ts";
import type { Answer } from "./scorer.ts";

interface Limits {
  timeoutSeconds: number;
  signal?: AbortSignal | undefined;
}

const toJson = ({ prompt, text, metadata = {} }: Answer) => ({ prompt, completion: text, metadata });

const reply = z.object({ scores: z.array(z.number()) });

/** Scores by a server: `{"samples": [{prompt, completion, metadata}]}` is posted to it, `{"scores": [number]}` comes back. */
export async function scoreByServer(
  url: string,
  answers: readonly Answer[],
  limits: Limits,
): Promise<number[]> {
  const text = await postJson(url, { samples: answers.map(toJson) }, limits);
  try {
    return reply.parse(JSON.parse(text)).scores;
  } catch {
    throw new RemoteError(`${url} answers what is no {"scores": [number, …]}: ${text.slice(0, 300)}`);
  }
}

/** Scores by a shell command, begun once for all: a JSON line of each sample goes in, a line with a number comes out for each. */
export async function scoreByCommand(
  command: string,
  answers: readonly Answer[],
  { timeoutSeconds, signal }: Limits,
): Promise<number[]> {
  const { stdout } = await shell(
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

function shell(
  command: string,
  input: string,
  seconds: number,
  signal?: AbortSignal,
): Promise<{ stdout: string }> {
  return new Promise((resolve, reject) => {
    // A group of its own: what the shell began ends with it.
    const child = spawn(command, { shell: true, detached: true, stdio: ["pipe", "pipe", "pipe"] });
    const kill = () => {
      try {
        process.kill(-(child.pid as number), "SIGKILL");
      } catch {
        // It has ended.
      }
    };
    let late = false;
    const timer = setTimeout(() => {
      late = true;
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
    child.stdin.on("error", () => {}); // it need not read all, or anything
    child.stdin.end(input);
    child.once("error", reject);
    child.once("close", (code, killed) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", kill);
      if (signal?.aborted) return reject(signal.reason);
      if (late) return reject(new RemoteError(`reward command "${command}" did not end in ${seconds} s`));
      if (code !== 0)
        return reject(
          new RemoteError(`reward command "${command}" ended with ${code ?? killed}: ${stderr.trim()}`),
        );
      resolve({ stdout });
    });
  });
}
