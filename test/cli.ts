import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const bin = fileURLToPath(new URL("../bin/plumbline.mjs", import.meta.url));

export interface Outcome {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Runs the built command line to its end. `during` may send signals to the process. */
export function plumbline(
  args: readonly string[],
  options: {
    cwd?: string;
    input?: string;
    env?: Record<string, string>;
    wrap?: readonly string[];
    during?: (child: ChildProcess) => void;
  } = {},
): Promise<Outcome> {
  const [command, ...rest] = [...(options.wrap ?? []), process.execPath, bin, ...args] as [
    string,
    ...string[],
  ];
  return new Promise((resolve, reject) => {
    const child = spawn(command, rest, { cwd: options.cwd, env: { ...process.env, ...options.env } });
    const outcome = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      outcome.stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      outcome.stderr += text;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, ...outcome }));
    child.stdin.end(options.input ?? "");
    options.during?.(child);
  });
}

/** Runs the command line. @returns its standard output @throws Error with its standard error when it fails */
export async function succeed(
  args: readonly string[],
  options: Parameters<typeof plumbline>[1] = {},
): Promise<string> {
  const { code, signal, stdout, stderr } = await plumbline(args, options);
  if (code !== 0) throw new Error(`plumbline ${args.join(" ")}: exit code ${code ?? signal}\n${stderr}`);
  return stdout;
}

/** Parses JSON lines. */
// biome-ignore lint/suspicious/noExplicitAny: rows of several kinds
export const jsonLines = (text: string): any[] =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

/** Makes `--set` options of settings. */
export const set = (settings: Record<string, unknown>): string[] =>
  Object.entries(settings).flatMap(([name, value]) => ["--set", `${name}=${value}`]);

/** Sends SIGINT at the first line of progress that names a step. */
export function interruptAtFirstStep(child: ChildProcess): void {
  const onData = (text: Buffer | string) => {
    if (!/ \d+\/\d+ /.test(String(text))) return;
    child.stderr?.off("data", onData);
    child.kill("SIGINT");
  };
  child.stderr?.on("data", onData);
}
