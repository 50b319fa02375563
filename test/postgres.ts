import { execFileSync, spawn, spawnSync } from "node:child_process";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";

/** Folder of the server's programs on Debian, which is not in the PATH. */
const debian = "/usr/lib/postgresql";

function binaries(): string | undefined {
  const versions = existsSync(debian) ? readdirSync(debian).sort().reverse() : [];
  const folders = [
    ...versions.map((version) => join(debian, version, "bin")),
    ...(process.env.PATH ?? "").split(":"),
  ];
  return folders.find((folder) => existsSync(join(folder, "initdb")));
}

/** Reason why Postgres cannot be tested with; undefined if it can. */
export const noPostgres = binaries() ? undefined : "no initdb: install Debian's postgresql";

/** Starts a Postgres server with its data in a temporary folder, which listens only on a socket in that folder. */
export async function startPostgres(): Promise<{ fresh: () => Promise<string>; stop: () => Promise<void> }> {
  const bin = binaries() as string;
  const folder = mkdtempSync(join(tmpdir(), "plumbline-pg-"));
  // It refuses to run as root.
  const nobody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  if (nobody.uid) chownSync(folder, nobody.uid, nobody.gid);
  const data = join(folder, "data");
  const made = spawnSync(
    join(bin, "initdb"),
    ["-D", data, "-U", "plumbline", "--auth=trust", "-E", "UTF8", "--locale=C"],
    {
      ...nobody,
      encoding: "utf8",
    },
  );
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`);
  const server = spawn(join(bin, "postgres"), ["-D", data, "-k", folder, "-c", "listen_addresses="], {
    ...nobody,
    stdio: "ignore",
  });
  const url = (database: string) => `postgres://plumbline@/${database}?host=${encodeURIComponent(folder)}`;
  for (let tries = 0; ; tries++) {
    const ready = spawnSync(join(bin, "pg_isready"), ["-h", folder, "-q"]);
    if (ready.status === 0) break;
    if (tries > 100) throw new Error("Postgres did not start");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  let databases = 0;
  return {
    async fresh() {
      const name = `store${++databases}`;
      const client = new pg.Client(url("postgres"));
      await client.connect();
      await client.query(`create database ${name}`);
      await client.end();
      return url(name);
    },
    async stop() {
      const ended = new Promise((resolve) => server.once("exit", resolve));
      execFileSync(join(bin, "pg_ctl"), ["stop", "-D", data, "-m", "immediate"], {
        ...nobody,
        stdio: "ignore",
      });
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
