import { isIP } from "node:net";
import { InputError, RemoteError } from "../data/errors.ts";
import type { ExportFormat } from "../labels/export-formats.ts";
import type { Body, Params, Reply, Routes } from "../server/labels/contract.ts";

/** Whether `--store` names a label app in place of a database. */
export const isServer = (store: string): boolean => /^https?:\/\//i.test(store);

/** Environment variable of the token. An option would show it to all users of the machine. */
const tokenVariable = "PLUMBLINE_TOKEN";

const notAnApp = "this is no label app's address, or lacks its base path (--base-path of plumbline serve)";

/** Client of a label app's API. Requests are sent with the token in `PLUMBLINE_TOKEN`. */
export class LabelServer {
  readonly #address: string;
  readonly #token: string;

  /** @param address the app's address, with its base path @throws InputError without a token, or for an invalid address */
  constructor(address: string) {
    if (!URL.canParse(address)) throw new InputError(`--store ${address}: this is not an address`);
    const { protocol, hostname, username } = new URL(address);
    if (username)
      throw new InputError(`--store: leave the user out of the address, and set ${tokenVariable}`);
    const token = process.env[tokenVariable]?.trim();
    if (!token)
      throw new InputError(
        `${address}: set ${tokenVariable} to a token, which you make in the label app (your name, Tokens)`,
      );
    if (protocol === "http:" && !isLoopback(hostname))
      process.stderr.write(
        "warning: this is plain http, so that others in the network can read the token: use https\n",
      );
    [this.#address, this.#token] = [address.replace(/\/+$/, ""), token];
  }

  /** Sends a request of the contract. @throws RemoteError if the server cannot be reached or refuses it */
  async call<K extends keyof Routes>(
    route: K,
    { params = {}, body }: { params?: Params<K> | object; body?: Body<K> } = {},
  ): Promise<Reply<K>> {
    const [method, pattern] = route.split(" ") as [string, string];
    const values = params as Record<string, string>;
    const path = pattern.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(values[name] as string));
    const reply = await this.#send(method, path, body);
    return reply.json().catch(() => {
      throw new RemoteError(`${this.#address}: ${notAnApp}`);
    }) as Promise<Reply<K>>;
  }

  /** Yields the bytes of an exported file. @throws RemoteError as `call`, or if the connection breaks off */
  async *exportFile(
    project: string,
    { format, as, margins }: { format: ExportFormat; as: string; margins: boolean },
  ): AsyncGenerator<Uint8Array> {
    const query = new URLSearchParams({ format, as, margins: String(margins) });
    const { body } = await this.#send("GET", `/api/projects/${encodeURIComponent(project)}/export?${query}`);
    try {
      for await (const chunk of body ?? []) yield chunk;
    } catch (error) {
      throw new RemoteError(`${this.#address}: the export broke off: ${(error as Error).message}`);
    }
  }

  async #send(method: string, path: string, body?: unknown): Promise<Response> {
    const reply = await fetch(this.#address + path, {
      method,
      // The token is for this address alone.
      redirect: "manual",
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(body !== undefined && { "content-type": "application/json" }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }).catch((error: Error & { cause?: Error }) => {
      throw new RemoteError(`${this.#address} cannot be reached: ${error.cause?.message ?? error.message}`);
    });
    if (reply.status >= 300 && reply.status < 400)
      throw new RemoteError(
        `${this.#address} redirects to ${reply.headers.get("location")}: give that address`,
      );
    if (reply.ok) return reply;
    const answer: unknown = await reply.json().catch(() => undefined);
    const reason = (answer as { error?: string } | undefined)?.error;
    throw new RemoteError(`${this.#address}: ${reason ?? `answers ${reply.status}: ${notAnApp}`}`);
  }
}

const isLoopback = (hostname: string): boolean =>
  hostname === "localhost" || hostname === "[::1]" || (isIP(hostname) === 4 && hostname.startsWith("127."));
