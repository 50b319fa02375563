import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import type { Command } from "commander";
import { InputError } from "../data/errors.ts";
import { createInvitation } from "../labels/accounts.ts";
import { withoutPassword } from "../labels/database.ts";
import { LabelStore } from "../labels/store.ts";
import { buildApp } from "../server/app.ts";
import { storeOption } from "./options.ts";
import { interruptSignal, print } from "./terminal.ts";

interface Options {
  store: string;
  host: string;
  port: string;
  trustProxy?: string;
  basePath: string;
  json?: boolean;
}

export const define = (command: Command): Command =>
  command
    .option(...storeOption)
    .option(
      "--host <address>",
      "address to listen on; 0.0.0.0 accepts connections from other machines",
      "127.0.0.1",
    )
    .option("--port <number>", "port to listen on; 0 for a free one", "3210")
    .option(
      "--trust-proxy <addresses>",
      "proxies whose X-Forwarded-For, -Host and -Proto headers are used: addresses or ranges, comma separated; loopback for this machine's",
      parseProxies,
    )
    .option("--base-path <path>", "path of the app below the host's, such as /labels", parseBasePath, "")
    .option("--json", "print the address and the first owner's sign-up link as JSON")
    .action(async ({ store: where, host, port, trustProxy, basePath, json }: Options) => {
      if (!/^\d+$/.test(port) || Number(port) > 65535)
        throw new InputError(`--port ${port}: expected a number up to 65535`);
      const store = await LabelStore.open(where);
      const app = await buildApp(store, { trustProxy: trustProxy ?? false, basePath });
      try {
        const signal = interruptSignal("\nclosing; Ctrl-C again to quit at once\n");
        const address = `${toReachable(await listen(app, host, port), host)}${basePath}`;
        if (!trustProxy && !isLoopback(host))
          process.stderr.write(
            "warning: this is plain http, so that others in the network can read passwords: " +
              "use an HTTPS proxy (docs/labels.md)\n",
          );
        const hasOwner = (await store.users()).some(({ role, active }) => role === "owner" && active);
        const link = hasOwner
          ? undefined
          : `${address}/claim/${(await createInvitation(store, null, "owner", null)).token}`;
        if (json) print(JSON.stringify({ address, ...(link && { link }) }));
        else {
          print(`The label app is at ${address} (labels in ${withoutPassword(where)}). Ctrl-C ends it.`);
          if (link) print(`Nobody owns it yet. Open this link to make the first account:\n  ${link}`);
        }
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      } finally {
        await app.close();
        await store.close();
      }
    });

/** Checks `--trust-proxy`. @throws InputError if an entry is no address, no range of addresses and not "loopback" */
function parseProxies(text: string): string {
  for (const entry of text.split(",").map((part) => part.trim())) {
    const [, address = "", bits = "1"] = /^([^/]*)(?:\/(\d+))?$/.exec(entry) ?? [];
    const most = { 0: 0, 4: 32, 6: 128 }[isIP(address)] as number;
    if (entry !== "loopback" && !(Number(bits) >= 1 && Number(bits) <= most))
      throw new InputError(
        `--trust-proxy "${entry}": expected an address (10.0.0.5), a range (10.0.0.0/8) or loopback`,
      );
  }
  return text;
}

/** Parses `--base-path` as "/one" or "/one/two"; "" for the root. @throws InputError if it is no path */
function parseBasePath(text: string): string {
  const path = text.replace(/^\/?/, "/").replace(/\/$/, "");
  if (!/^(\/(?!\.{1,2}(\/|$))[\w.~-]+)*$/.test(path))
    throw new InputError(
      `--base-path "${text}": expected a path such as /labels, of letters, digits, "-", "_", "." and "~"`,
    );
  return path;
}

const isLoopback = (host: string): boolean => /^(localhost$|127\.|::1$)/.test(host);

/** Replaces the loopback address, which a server that listens on all addresses reports, by one that others can reach. */
function toReachable(address: string, host: string): string {
  const reachable = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ family, internal }) => family === "IPv4" && !internal);
  if (!reachable || !["0.0.0.0", "::"].includes(host)) return address;
  return `http://${reachable.address}:${new URL(address).port}`;
}

/** Listens, with errors that say what to do. */
async function listen(
  app: { listen: (at: { host: string; port: number }) => Promise<string> },
  host: string,
  port: string,
): Promise<string> {
  try {
    return await app.listen({ host, port: Number(port) });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EADDRINUSE")
      throw new InputError(
        `port ${port} of ${host} is taken: end what listens there, or choose another --port`,
      );
    if (code === "EACCES")
      throw new InputError(`port ${port}: no permission to listen there; choose one over 1023`);
    if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
      throw new InputError(`--host ${host}: this machine has no such address`);
    throw error;
  }
}
