import type { FastifyInstance } from "fastify";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createInvitation } from "../labels/accounts.ts";
import { LabelStore } from "../labels/store.ts";
import { buildApp } from "./app.ts";

const password = "correct horse battery";
let store: LabelStore;
/** Servers of the same store: without options, behind a proxy on this machine, and with a base path as well. */
let plain: FastifyInstance;
let proxied: FastifyInstance;
let below: FastifyInstance;
beforeAll(async () => {
  store = await LabelStore.open(":memory:");
  plain = await buildApp(store);
  proxied = await buildApp(store, { trustProxy: "loopback" });
  below = await buildApp(store, { trustProxy: "loopback", basePath: "/labels" });
});
afterAll(async () => {
  for (const app of [plain, proxied, below]) await app.close();
  await store.close();
});

const post = (app: FastifyInstance, url: string, payload: object, headers: object) =>
  app.inject({ method: "POST", url, payload, headers: { "x-plumbline": "1", ...headers } });

/** Makes an account. @returns the reply, with its cookie */
async function claim(app: FastifyInstance, name: string, headers: object = {}, base = "") {
  const { token } = await createInvitation(store, null, "owner", null);
  const reply = await post(app, `${base}/api/claim`, { token, name, password }, headers);
  expect(reply.statusCode).toBe(200);
  return reply.headers["set-cookie"] as string;
}

describe("the check of the origin", () => {
  const logout = (app: FastifyInstance, headers: object) => post(app, "/api/logout", {}, headers);

  it.each([
    [{ host: "a.example", origin: "https://a.example" }, 200],
    [{ host: "a.example:443", origin: "https://a.example" }, 200],
    [{ host: "a.example:8443", origin: "https://a.example:8443" }, 200],
    [{ host: "[::1]:3210", origin: "http://[::1]:3210" }, 200],
    [{ host: "a.example", origin: "https://a.example:8443" }, 403],
    [{ host: "a.example", origin: "https://a.example.evil.example" }, 403],
    [{ host: "a.example", origin: "null" }, 403],
    [{ host: "a.example", origin: "file://" }, 403],
    [{ host: "127.0.0.1:3210", origin: "https://a.example", "x-forwarded-host": "a.example" }, 403],
  ])("answers %o with %i", async (headers, status) => {
    expect((await logout(plain, headers)).statusCode).toBe(status);
  });

  it("takes the host from a trusted proxy", async () => {
    const from = (origin: string) =>
      logout(proxied, { host: "127.0.0.1:3210", "x-forwarded-host": "a.example:8443", origin });
    expect((await from("https://a.example:8443")).statusCode).toBe(200);
    expect((await from("https://127.0.0.1:3210")).statusCode).toBe(403);
    expect((await from("https://evil.example")).statusCode).toBe(403);
  });

  it("names both hosts when they differ", async () => {
    const reply = await logout(plain, { host: "127.0.0.1:3210", origin: "https://a.example:8443" });
    expect(reply.json().error).toMatch(
      /from a page of a\.example:8443 and was sent to 127\.0\.0\.1:3210: .*Host header.*--trust-proxy/,
    );
  });
});

describe("the limits of requests", () => {
  const guess = (app: FastifyInstance, remoteAddress: string, forwarded: string) =>
    app.inject({
      method: "POST",
      url: "/api/login",
      remoteAddress,
      headers: { "x-plumbline": "1", "x-forwarded-for": forwarded },
      payload: { name: "nobody", password },
    });
  const left = (reply: { headers: Record<string, unknown> }) => reply.headers["x-ratelimit-remaining"];

  it("count sign-ins by the address that connects, unless it is a trusted proxy's", async () => {
    expect(left(await guess(plain, "127.0.0.1", "10.0.0.1"))).toBe("19");
    expect(left(await guess(plain, "127.0.0.1", "10.0.0.2"))).toBe("18");
    expect(left(await guess(proxied, "10.9.9.9", "10.0.0.1"))).toBe("19");
    expect(left(await guess(proxied, "10.9.9.9", "10.0.0.2"))).toBe("18");
    expect(left(await guess(proxied, "127.0.0.1", "10.0.0.1"))).toBe("19");
    expect(left(await guess(proxied, "127.0.0.1", "10.0.0.2"))).toBe("19");
    // What the client said comes before what the proxy adds.
    expect(left(await guess(proxied, "127.0.0.1", "10.0.0.3, 10.0.0.2"))).toBe("18");
  });

  it("count sign-ins by the /64 network of IPv6 addresses", async () => {
    expect(left(await guess(plain, "2001:db8::1", "10.0.0.1"))).toBe("19");
    expect(left(await guess(plain, "2001:db8::2", "10.0.0.1"))).toBe("18");
  });

  it("count a user's requests apart; a cookie that is made up makes no difference", async () => {
    const cookie = (await claim(plain, "counted")).split(";")[0] as string;
    const ask = async (cookie: string) =>
      Number(left(await plain.inject({ url: "/api/me", remoteAddress: "10.0.0.4", headers: { cookie } })));
    expect([
      await ask(cookie),
      await ask("plumbline=a"),
      await ask("plumbline=b"),
      await ask(cookie),
    ]).toEqual([1199, 1199, 1198, 1198]);
  });
});

describe("behind a proxy", () => {
  const forwarded = { host: "127.0.0.1:3210", "x-forwarded-host": "a.example", "x-forwarded-proto": "https" };

  it.each([
    ["without a base path", () => proxied, "", "/"],
    ["with one", () => below, "/labels", "/labels"],
  ])("makes links and cookies for the outer address, %s", async (name, app, base, path) => {
    const cookie = await claim(app(), `owner ${name}`, forwarded, base);
    expect(cookie).toMatch(new RegExp(`; Path=${path};.*; Secure`));
    const send = (url: string, body: object) =>
      post(app(), `${base}${url}`, body, { ...forwarded, cookie: cookie.split(";")[0] });
    const project = (await send("/api/projects", { name: "p", settings: { kind: "ranking" } })).json().id;
    const { link } = (await send(`/api/projects/${project}/invitations`, { role: "labeler" })).json();
    expect(link).toMatch(new RegExp(`^https://a\\.example${base}/claim/[\\w-]{43}$`));
    const ended = await send("/api/logout", {});
    expect(ended.headers["set-cookie"]).toMatch(new RegExp(`^plumbline=; .*Path=${path}`));
  });

  it("ignores the headers of a proxy that is not trusted", async () => {
    expect(await claim(plain, "direct", forwarded)).not.toMatch(/Secure/);
  });
});

describe("the pages", () => {
  const get = (app: FastifyInstance, url: string) => app.inject({ url });

  it.each([
    ["/", () => plain, ""],
    ["/projects/x/label?a=b.c", () => plain, ""],
    ["/labels", () => below, "/labels"],
    ["/labels/", () => below, "/labels"],
    ["/labels/claim/x", () => below, "/labels"],
  ])("are sent at %s, uncached, with files that are there", async (url, app, base) => {
    const page = await get(app(), url);
    expect(page.statusCode).toBe(200);
    expect(page.headers).toMatchObject({
      "cache-control": "no-cache",
      "content-type": "text/html; charset=utf-8",
    });
    expect(page.body).toContain(`data-base-path="${base}"`);
    const files = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = ""]) => path);
    expect(files.length).toBeGreaterThan(2);
    for (const path of files) {
      expect(path.startsWith(`${base}/`)).toBe(true);
      const file = await get(app(), path);
      expect(file.statusCode).toBe(200);
    }
  });

  it.each([
    ["/assets/x.js", () => plain],
    ["/assets/../index.html", () => plain],
    ["/index.html", () => plain],
    ["/api/nothing", () => plain],
    ["/labels/assets/x.js", () => below],
    ["/labels/api/nothing", () => below],
    ["/labelsx", () => below],
    ["/", () => below],
    ["/api/me", () => below],
  ])("are not sent in place of %s", async (url, app) => {
    const { statusCode, headers } = await get(app(), url);
    expect([statusCode, headers["content-type"]]).toEqual([404, "application/json; charset=utf-8"]);
  });

  it("say where the app is, outside its base path", async () => {
    expect((await get(below, "/")).json().error).toMatch(/the label app is at \/labels\//);
  });
});
