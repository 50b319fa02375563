import type { Command } from "commander";
import { InputError } from "../data/errors.ts";
import { createInvitation } from "../labels/accounts.ts";
import { LabelStore } from "../labels/store.ts";
import { buildApp } from "../server/app.ts";
import { storeOption } from "./options.ts";
import { interruptSignal, print } from "./terminal.ts";

interface Options {
  store: string;
  host: string;
  port: string;
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
    .option("--json", "print the address and the first owner's sign-up link as JSON")
    .action(async ({ store: where, host, port, json }: Options) => {
      if (!/^\d+$/.test(port) || Number(port) > 65535)
        throw new InputError(`--port ${port}: expected a number up to 65535`);
      const store = await LabelStore.open(where);
      const app = await buildApp(store);
      try {
        const signal = interruptSignal("\nclosing; Ctrl-C again to quit at once\n");
        const address = await listen(app, host, port);
        const hasOwner = (await store.users()).some(({ role, active }) => role === "owner" && active);
        const link = hasOwner
          ? undefined
          : `${address}/claim/${(await createInvitation(store, null, "owner", null)).token}`;
        if (json) print(JSON.stringify({ address, ...(link && { link }) }));
        else {
          print(
            `The label app is at ${address} (labels in ${where.replace(/\/\/[^@/]*@/, "//…@")}). Ctrl-C ends it.`,
          );
          if (link) print(`Nobody owns it yet. Open this link to make the first account:\n  ${link}`);
        }
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      } finally {
        await app.close();
        await store.close();
      }
    });

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
