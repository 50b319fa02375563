import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Gives the tests a temporary directory of their own, and takes it away with all that they left in it. */
export default function setup(): () => void {
  const own = mkdtempSync(join(tmpdir(), "plumbline-test-"));
  chmodSync(own, 0o711); // a Postgres server under another user finds its folder in it
  process.env.TMPDIR = own;
  return () => rmSync(own, { recursive: true, force: true });
}
