import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Makes a temporary directory for the tests, and removes it with its contents afterwards. */
export default function setup(): () => void {
  const own = mkdtempSync(join(tmpdir(), "plumbline-test-"));
  chmodSync(own, 0o711); // a Postgres server under another user finds its folder in it
  process.env.TMPDIR = own;
  return () => rmSync(own, { recursive: true, force: true });
}
