import { execFileSync, spawn, spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
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
// interpreter needs, no environment variables, and a filter of system calls. Started by root, it has a user of its own in
// place of a namespace for users: the kernel does not limit the number of root's processes, in whatever namespace.

/** Starts a program in a bubblewrap sandbox. @throws InputError where there is no sandbox on this machine */
export function startInBubblewrap(language: Language, source: string, limit: Limits): RunningProgram {
  const { command, folders } = interpreter(language);
  const file = `/program/main.${extensionOf(language, source)}`;
  const bubblewrap = findBubblewrap();
  const user = bubblewrap.rootMaySwitchUser ? switchUser() : ownUser;
  const child = spawn(
    bubblewrap.path,
    [
      ...[...user.bubblewrap, ...bubblewrapArgs(limit, folders)],
      ...["--perms", "0444", "--ro-bind-data", "3", file, "--seccomp", "4", "--remount-ro", "/"],
      ...["--", ...user.command, prlimit, ...ulimits(limit), `--nproc=${limit.processes}`],
      ...["--", ...command, file],
    ],
    { stdio: ["pipe", "pipe", "pipe", "pipe", "pipe"], env: {} },
  );
  writeInput(child, 3, source);
  writeInput(child, 4, seccompFilter());
  // Killing the first process of the namespace ends all processes in it.
  return { child, kill: () => child.kill("SIGKILL"), cleanUp: () => {} };
}

/** How a program gets a user without rights: arguments of bubblewrap, and a command that comes before the program's. */
interface User {
  bubblewrap: string[];
  command: string[];
}

const unshared = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"];

/** "nobody" in a user namespace, outside of which it is the user who starts it. */
const ownUser: User = {
  bubblewrap: [
    ...[...unshared, "--unshare-user", "--disable-userns", "--cap-drop", "ALL"],
    ...["--uid", "65534", "--gid", "65534"],
  ],
  command: [],
};

/** Path of setpriv, with which root becomes a user without rights. */
const setpriv = "/usr/bin/setpriv";
/** First of 2^30 user ids, of which each sandbox takes one at random, as the kernel counts processes by user. */
const firstUser = 1 << 30;

/** For root: a user that no other process has, without capabilities. */
function switchUser(): User {
  const id = String(firstUser + randomInt(firstUser));
  return {
    bubblewrap: [...unshared, "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"],
    command: [setpriv, "--reuid", id, "--regid", id, "--clear-groups", "--inh-caps=-all", "--"],
  };
}

/** Arguments of bubblewrap. */
const bubblewrapArgs = ({ filesMb }: Limits, folders: readonly string[]): string[] => [
  ...["--die-with-parent", "--new-session", "--hostname", "sandbox", "--clearenv"],
  ...["--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8"],
  ...["--setenv", "PYTHONDONTWRITEBYTECODE", "1"],
  ...["--ro-bind", "/usr", "/usr"],
  ...[...parentFolders("/etc/ld.so.cache"), "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"],
  ...["bin", "lib", "lib64"].flatMap((name) => ["--symlink", `usr/${name}`, `/${name}`]),
  ...folders.flatMap((folder) => [...parentFolders(folder), "--ro-bind", folder, folder]),
  ...["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"],
  ...["--perms", "1777", "--size", "1048576", "--tmpfs", "/dev/shm"],
  ...["--perms", "1777", "--size", String(filesMb * 1024 * 1024), "--tmpfs", "/tmp", "--chdir", "/tmp"],
];

/** Arguments that make the folders above one. Left to bubblewrap, its user alone could enter them. */
const parentFolders = (folder: string): string[] =>
  dirname(folder) === "/"
    ? []
    : [...parentFolders(dirname(folder)), "--perms", "0755", "--dir", dirname(folder)];

interface Bubblewrap {
  path: string;
  /** Whether we are root, and bubblewrap can start programs as another user. A container's root often may not. */
  rootMaySwitchUser: boolean;
}

let workingBubblewrap: Bubblewrap | undefined;
/** Returns how to start bubblewrap. @throws InputError where it does not work */
function findBubblewrap(): Bubblewrap {
  if (workingBubblewrap) return workingBubblewrap;
  const problem = sandboxProblem();
  if (problem) throw new InputError(noSandboxMessage(problem));
  const { bubblewrap, command } = switchUser();
  const args = [...bubblewrap, "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"];
  const path = "/usr/bin/bwrap";
  const rootMaySwitchUser =
    process.getuid?.() === 0 &&
    spawnSync(path, [...args, "--", ...command, "/bin/true"], { stdio: "ignore" }).status === 0;
  workingBubblewrap = { path, rootMaySwitchUser };
  return workingBubblewrap;
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
