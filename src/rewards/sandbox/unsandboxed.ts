import { spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import {
  interpreter,
  type Language,
  type Limits,
  prlimit,
  type RunningProgram,
  ulimits,
  writeProgram,
} from "./program.ts";

/** Value of `withoutSandbox` by which a user agrees to run programs without a sandbox, with the user's own rights. */
export const noSandboxPhrase = "programs may do anything here";

/** Starts a program without a sandbox, with the limits that prlimit sets. */
export function startUnsandboxed(language: Language, source: string, limit: Limits): RunningProgram {
  const { command } = interpreter(language);
  const { folder, file } = writeProgram(language, source);
  const limited = existsSync(prlimit) ? [prlimit, ...ulimits(limit), "--"] : [];
  const [first = "", ...rest] = [...limited, ...command, file];
  // In a process group of its own, so that its children are killed with it.
  const child = spawn(first, rest, {
    cwd: folder,
    detached: true,
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: process.env.PATH, HOME: folder, LANG: "C.UTF-8" },
  });
  const kill = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    } catch {
      // The process group has ended.
    }
  };
  const clear = () => {
    kill();
    rmSync(folder, { recursive: true, force: true });
  };
  return { child, kill, cleanUp: clear };
}
