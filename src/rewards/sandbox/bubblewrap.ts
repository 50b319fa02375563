import { execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { InputError } from "../../data/errors.ts";
import {
  extensionOf,
  interpreter,
  type Language,
  type Limits,
  prlimit,
  type RunningProgram,
  ulimits,
  writeInput,
} from "./program.ts";
import { seccompFilter } from "./seccomp.ts";
import { noSandboxPhrase } from "./unsandboxed.ts";

// The sandbox has its own namespaces for processes, network, users and mounts, a read-only file system of only what the
// interpreter needs, no environment variables, and a filter of system calls.

/** Starts a program in a bubblewrap sandbox. @throws InputError where there is no sandbox on this machine */
export function startInBubblewrap(language: Language, source: string, limit: Limits): RunningProgram {
  const { command, folders } = interpreter(language);
  const file = `/program/main.${extensionOf(language, source)}`;
  const child = spawn(
    findBubblewrap(),
    [
      ...bubblewrapArgs(limit, folders),
      ...["--ro-bind-data", "3", file, "--seccomp", "4", "--remount-ro", "/"],
      ...["--", prlimit, ...ulimits(limit), `--nproc=${limit.processes}`, "--", ...command, file],
    ],
    { stdio: ["pipe", "pipe", "pipe", "pipe", "pipe"], env: {} },
  );
  writeInput(child, 3, source);
  writeInput(child, 4, seccompFilter());
  // Killing the first process of the namespace ends all processes in it.
  return { child, kill: () => child.kill("SIGKILL"), cleanUp: () => {} };
}

/** Arguments of bubblewrap. */
const bubblewrapArgs = ({ filesMb }: Limits, folders: readonly string[]): string[] => [
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

let bubblewrapPath: string | undefined;
/** Returns the path of bubblewrap. @throws InputError where it does not work */
function findBubblewrap(): string {
  if (bubblewrapPath) return bubblewrapPath;
  const problem = sandboxProblem();
  if (problem) throw new InputError(noSandboxMessage(problem));
  bubblewrapPath = "/usr/bin/bwrap";
  return bubblewrapPath;
}

/** Makes the error message for a machine without a sandbox. @param problem from `sandboxProblem` */
export const noSandboxMessage = (problem: string): string =>
  `programs are run in a sandbox only, and ${problem}. Give a container's image (container: python:3-slim) where there is docker or podman; or, on a machine that may be lost, say withoutSandbox: "${noSandboxPhrase}"`;

/** Returns why programs cannot run in a sandbox on this machine; undefined if they can. */
export function sandboxProblem(): string | undefined {
  if (process.platform !== "linux") return "bubblewrap, which makes it, runs on Linux only";
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
    const stderr = String((error as { stderr?: Buffer }).stderr ?? error).trim();
    if (/disable-userns/.test(stderr)) return "bubblewrap is too old: 0.8 or later is needed";
    return `bubblewrap cannot make one here: ${stderr}`;
  }
}
