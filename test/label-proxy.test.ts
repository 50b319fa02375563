import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { type IncomingHttpHeaders, request } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

// The configurations of docs/labels.md are run, with the addresses and ports of the test.

const path = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url));
const docs = readFileSync(path("docs/labels.md"), "utf8");
const browserPath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  existsSync,
);
const password = "correct horse battery";

// Debian has nginx in a folder that is not in every user's PATH.
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };

interface Proxy {
  name: string;
  /** Language of its blocks in the docs. */
  language: string;
  /** Reason why it cannot be tested with; undefined if it can. */
  missing: string | undefined;
  /** Starts the proxy with the block of the docs, on a port of 127.0.0.1, for the server at an address. */
  start: (block: string, port: number, server: string) => ChildProcess;
}

const missing = (command: string, argument: string): string | undefined =>
  process.platform !== "linux"
    ? "it needs several loopback addresses, as Linux has them"
    : spawnSync(command, [argument], { env }).error && `no ${command}: install Debian's ${command}`;

/** Replaces what a configuration has to have. */
function substitute(block: string, replacements: [RegExp, string][]): string {
  return replacements.reduce((config, [pattern, value]) => {
    expect(config).toMatch(pattern);
    return config.replace(pattern, value);
  }, block);
}

const proxies: Proxy[] = [
  {
    name: "nginx",
    language: "nginx",
    missing: missing("nginx", "-v"),
    start(block, port, server) {
      const folder = mkdtempSync(join(tmpdir(), "label-nginx-"));
      const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
      const site = substitute(block, [
        [/listen 443 ssl;/, `listen 127.0.0.1:${port};`],
        [/127\.0\.0\.1:3210/, server],
      ]);
      const config = `
        ${process.getuid?.() === 0 ? "user root;" : ""}
        daemon off;
        worker_processes 1;
        pid ${folder}/pid;
        events {}
        http {
          access_log off;
          ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join("\n")}
          ${site}
        }`;
      writeFileSync(join(folder, "nginx.conf"), config);
      return spawn("nginx", ["-p", folder, "-c", join(folder, "nginx.conf"), "-e", "stderr"], {
        env,
        stdio: ["ignore", "ignore", "pipe"],
      });
    },
  },
  {
    name: "caddy",
    language: "caddyfile",
    missing: missing("caddy", "version"),
    start(block, port, server) {
      const folder = mkdtempSync(join(tmpdir(), "label-caddy-"));
      const site = substitute(block, [
        [/^\S*example\.com/, `http://127.0.0.1:${port}`],
        [/127\.0\.0\.1:3210/, server],
      ]);
      const config = `{\n  admin off\n}\n${site}`;
      writeFileSync(join(folder, "Caddyfile"), config);
      const file = ["--config", join(folder, "Caddyfile"), "--adapter", "caddyfile"];
      return spawn("caddy", ["run", ...file], {
        env: { ...env, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
        stdio: ["ignore", "ignore", "pipe"],
      });
    },
  },
];

const running: ChildProcess[] = [];
// Not by SIGKILL, which would leave nginx's workers.
afterAll(() =>
  Promise.all(
    running
      .filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
      .map((child) => new Promise((resolve) => child.once("exit", resolve).kill("SIGTERM"))),
  ),
);

/** The real server, which trusts proxies on this machine. */
async function serve(basePath: string): Promise<{ address: string; link: string }> {
  const store = join(mkdtempSync(join(tmpdir(), "label-proxy-")), "labels.db");
  const options = ["--trust-proxy", "loopback", "--base-path", basePath, "--port", "0", "--json"];
  const child = spawn(process.execPath, [path("bin/plumbline.mjs"), "serve", "--store", store, ...options], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  running.push(child);
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
  return JSON.parse(line);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

interface Sent {
  body?: object;
  headers?: Record<string, string>;
  /** Address of this machine that the request comes from. */
  from?: string;
}
interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/** Sends a request as a page of the address's own host does. */
function send(url: string, { body, headers = {}, from = "127.0.0.1" }: Sent = {}): Promise<Answer> {
  const ofPage = { origin: new URL(url).origin, "x-plumbline": "1", "content-type": "application/json" };
  return new Promise((resolve, reject) => {
    const sent = request(url, {
      method: body ? "POST" : "GET",
      localAddress: from,
      agent: false,
      headers: { ...(body && ofPage), ...headers },
    });
    sent.on("error", reject);
    sent.on("response", async (reply) =>
      resolve({ status: reply.statusCode as number, headers: reply.headers, text: await text(reply) }),
    );
    sent.end(body && JSON.stringify(body));
  });
}

const cases = proxies.flatMap((proxy) => [
  { ...proxy, base: "", where: "at a host's root", nth: 0 },
  { ...proxy, base: "/labels", where: "below a base path", nth: 1 },
]);
for (const { name, missing } of proxies)
  if (missing) console.log(`label app behind ${name}: skipped, ${missing}`);

describe.each(cases)("the label app behind $name $where", ({ language, base, nth, missing, start }) => {
  if (missing) return it.skip(missing);
  let outer = "";
  let link = "";
  beforeAll(async () => {
    const server = await serve(base);
    expect(new URL(server.address).pathname).toBe(base || "/");
    const port = await freePort();
    const found = [...docs.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms"))];
    expect(found).toHaveLength(2);
    const proxy = start(found[nth]?.[1] as string, port, new URL(server.address).host);
    running.push(proxy);
    let log = "";
    proxy.stderr?.on("data", (text) => {
      log += text;
    });
    outer = `http://127.0.0.1:${port}${base}`;
    link = server.link.replace(server.address, outer);
    const answers = async () => {
      if (proxy.exitCode !== null) throw new Error(`the proxy ended: ${log}`);
      await send(`${outer}/api/me`);
    };
    await vi.waitFor(answers, { timeout: 20_000, interval: 100 });
  }, 30_000);

  it("signs people in, takes changes and makes links that work", async () => {
    expect(await send(link)).toMatchObject({ status: 200, text: expect.stringContaining("<html") });
    const claimed = await send(`${outer}/api/claim`, {
      body: { token: link.split("/").at(-1), name: "owner", password },
    });
    expect([claimed.status, String(claimed.headers["set-cookie"])]).toEqual([
      200,
      expect.stringContaining(`; Path=${base || "/"};`),
    ]);
    const signedIn = await send(`${outer}/api/login`, { body: { name: "owner", password } });
    expect(signedIn.status).toBe(200);
    const headers = { cookie: String(signedIn.headers["set-cookie"]).split(";")[0] as string };
    const change = async (url: string, body: object, more: object = {}) =>
      send(`${outer}/api${url}`, { body, headers: { ...headers, ...more } });
    const made = await change("/projects", { name: "p", settings: { kind: "pairwise" } });
    const { id } = JSON.parse(made.text);
    // More than proxies take by default, and than they keep in memory.
    const rows = Array.from({ length: 4 }, (_, i) => ({
      prompt: `q${i}`,
      chosen: "good ".repeat(200_000),
      rejected: "bad",
    }));
    const imported = await change(`/projects/${id}/import`, {
      name: "rows.jsonl",
      text: rows.map((row) => JSON.stringify(row)).join("\n"),
    });
    expect([imported.status, JSON.parse(imported.text).kept]).toEqual([200, 4]);
    const invited = JSON.parse((await change(`/projects/${id}/invitations`, { role: "labeler" })).text);
    expect(invited.link.startsWith(`${outer}/claim/`)).toBe(true);
    expect((await send(invited.link)).status).toBe(200);
    const token = invited.link.split("/").at(-1);
    expect(JSON.parse((await send(`${outer}/api/invitations/${token}`)).text)).toEqual({
      role: "labeler",
      project: "p",
    });
    const forged = await change("/logout", {}, { origin: "https://evil.example" });
    expect([forged.status, forged.text]).toEqual([403, expect.stringContaining("evil.example")]);
    const told = { "x-forwarded-host": "evil.example", "x-forwarded-proto": "https" };
    const misled = JSON.parse((await change(`/projects/${id}/invitations`, { role: "labeler" }, told)).text);
    expect(misled.link.startsWith(`${outer}/claim/`)).toBe(true);
  });

  it("limits sign-ins by the client's address, whatever the client says it is", async () => {
    const guess = async (from: string, i: number) => {
      const headers = { "x-forwarded-for": `10.0.0.${i}` };
      const body = { name: "nobody", password };
      return (await send(`${outer}/api/login`, { body, headers, from })).status;
    };
    const statuses = [];
    for (let i = 0; i < 21; i++) statuses.push(await guess("127.0.0.2", i));
    expect(statuses).toEqual([...Array(20).fill(400), 429]);
    expect(await guess("127.0.0.3", 0)).toBe(400);
  });

  if (!base) return;

  it("is found without the slash at the end", async () => {
    const { status, headers } = await send(outer);
    expect([301, 302]).toContain(status);
    expect(new URL(headers.location as string, outer).href).toBe(`${outer}/`);
  });

  it.skipIf(!browserPath)("shows its pages in a browser", async () => {
    const browser = await chromium.launch({ executablePath: browserPath as string, args: ["--no-sandbox"] });
    try {
      const page = await browser.newPage();
      const problems: string[] = [];
      page.on("pageerror", (error) => problems.push(String(error)));
      page.on("request", (sent) => {
        if (!sent.url().startsWith(`${outer}/`)) problems.push(sent.url());
      });
      await page.goto(`${outer}/`);
      await page.getByLabel("Name").fill("owner");
      await page.getByLabel("Password").fill(password);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("link", { name: "Quality" }).click();
      await page.waitForURL(/\/quality$/);
      await page.reload();
      await page.getByRole("link", { name: "Set up" }).click();
      await page.waitForURL(/\/settings$/);
      await page.getByRole("link", { name: "Export" }).click();
      await page.waitForURL(/\/settings\/export$/);
      // Nobody has judged anything: other formats would hold nothing.
      await page.getByLabel("Format").selectOption("log");
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.getByRole("link", { name: "JSON lines" }).click(),
      ]);
      expect(await download.failure()).toBeNull();
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.waitForURL(`${outer}/login`);
      await page.getByRole("heading", { name: "Sign in" }).waitFor();
      expect(problems).toEqual([]);
    } finally {
      await browser.close();
    }
  });
});
