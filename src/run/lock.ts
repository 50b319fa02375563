import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { errorCode, InputError } from "../data/errors.ts";

/**
 * Acquires a lock file for this process. The lock of a dead process is replaced.
 * @throws InputError with the holder's pid while that process lives
 */
export function takeLock(path: string): void {
  const ownFile = `${path}.${process.pid}`;
  // The file is written first and then linked to `path`: so the lock has its content from the start, even after a kill.
  writeFileSync(ownFile, `${process.pid} ${startTime(process.pid)}`);
  try {
    while (!link(ownFile, path)) removeStale(path, ownFile);
  } finally {
    rmSync(ownFile, { force: true });
  }
}

/** Makes a hard link. @returns false if the target exists */
function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  }
}

/** Removes a dead process's lock. @throws InputError if its process is alive */
function removeStale(path: string, ownFile: string): void {
  const holder = read(path);
  const [pid, started] = holder.split(" ");
  if (pid && startTime(Number(pid)) === started) {
    throw new InputError(
      `${path}: process ${pid} is writing this run; wait for it, stop it, or use another name`,
    );
  }
  // Only one process can rename the file. So another process that read the same dead holder cannot remove a new lock.
  const stale = `${ownFile}.stale`;
  try {
    renameSync(path, stale);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
    return;
  }
  if (read(stale) !== holder) link(stale, path); // it was a new lock: put it back
  rmSync(stale);
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
 * Returns the start time of a process on Linux, "alive" on other systems, undefined for a dead process. It distinguishes
 * a process from an earlier one of the same pid, which a restarted container often has.
 */
function startTime(pid: number): string | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) === "ESRCH") return undefined;
  }
  try {
    // Fields after the command name, which may contain spaces: the state is the first, the start time the 20th (proc(5)).
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return "alive";
  }
}
