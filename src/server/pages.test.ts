import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fastify, { type FastifyInstance } from "fastify";
import { afterAll, beforeAll, expect, it } from "vitest";
import { addPages } from "./pages.ts";

const root = mkdtempSync(join(tmpdir(), "pages-"));
const app: FastifyInstance = fastify();

beforeAll(async () => {
  mkdirSync(join(root, "assets"));
  const files = {
    "index.html": '<div id="app" data-base-path=""></div><script src="./assets/index-3xHz.js"></script>',
    "icon.svg": "<svg/>",
    "assets/index-3xHz.js": "1",
    "assets/index-old.js": "0",
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text);
  await addPages(app, "/labels", root);
  await app.ready();
  // A new build, made while the server runs, has other assets.
  rmSync(join(root, "assets/index-old.js"));
});
afterAll(() => app.close());

const get = async (url: string) => {
  const { statusCode, headers } = await app.inject({ url });
  return [statusCode, headers["cache-control"]];
};

// RFC 8246: a fresh immutable response is not revalidated. A year is the longest that RFC 2616 let servers ask for.
it("lets browsers keep assets for a year, whose names have a hash, and asks them to revalidate all else", async () => {
  expect(await get("/labels/assets/index-3xHz.js")).toEqual([200, "public, max-age=31536000, immutable"]);
  for (const url of ["/labels", "/labels/", "/labels/projects/x/label", "/labels/icon.svg"])
    expect(await get(url)).toEqual([200, "no-cache"]);
});

it.each([
  "/labels/assets/index-old.js",
  "/labels/assets/missing.css",
  "/labels/assets/missing",
  "/labels/assets",
  "/labels/missing.svg",
])("answers 404 for %s, and never with a page or for long", async (url) => {
  expect(await get(url)).toEqual([404, undefined]);
});
