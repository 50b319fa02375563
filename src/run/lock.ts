import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { errorCode, InputError } from "../data/errors.ts";

/**
 * Takes the lock file for this process. One whose process is dead is taken over.
 * Throws `InputError` with the holder's pid while that process lives.
 */
export function takeLock(path: string): void {
  const mine = `${path}.${process.pid}`;
  // Linked and not written in place: the lock is never seen without its content, even after a kill.
  writeFileSync(mine, `${process.pid} ${startTime(process.pid)}`);
  try {
    while (!link(mine, path)) removeStale(path, mine);
  } finally {
    rmSync(mine, { force: true });
  }
}

function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  }
}

function removeStale(path: string, mine: string): void {
  const holder = read(path);
  const [pid, born] = holder.split(" ");
  if (pid && startTime(Number(pid)) === born) {
    throw new InputError(
      `${path}: process ${pid} is writing this run; wait for it, stop it, or use another name`,
    );
  }
  // A rename succeeds for one process alone: another that saw the same dead holder can't remove our new lock.
  const aside = `${mine}.stale`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
    return;
  }
  if (read(aside) !== holder) link(aside, path);
  rmSync(aside);
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return "";
    throw error;
  }
}

/**
 * What tells a living process from an earlier one of the same pid (a restarted container gives out the same few):
 * its start time on Linux, "alive" elsewhere. Undefined for a dead process.
 */
function startTime(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) === "ESRCH") return undefined;
  }
  try {
    // After the command name, which may hold spaces: the state first, the start time 20th (proc(5)).
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return "alive";
  }
}
