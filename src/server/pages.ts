import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import files from "@fastify/static";
import type { FastifyInstance } from "fastify";

const webRoot = fileURLToPath(new URL("../../dist/web", import.meta.url));

/**
 * Serves the web app below the base path: its files, and index.html for all pages, among which its router chooses.
 * @param root folder of the built web app; without it only the API is served
 */
export async function addPages(app: FastifyInstance, basePath: string, root = webRoot): Promise<void> {
  if (!existsSync(root)) return;
  await app.register(files, {
    root,
    prefix: `${basePath}/`,
    cacheControl: false,
    // The names of assets have a hash of their content, so a name's content never changes.
    setHeaders: (reply, path) =>
      reply.setHeader(
        "cache-control",
        path.startsWith(join(root, "assets/")) ? "public, max-age=31536000, immutable" : "no-cache",
      ),
    // A route for each file, so that all other paths reach the handler below.
    wildcard: false,
    index: false,
    globIgnore: ["index.html"],
  });
  // The build has paths relative to the base path: pages have paths of any depth.
  const page = readFileSync(join(root, "index.html"), "utf8")
    .replaceAll('"./', `"${basePath}/`)
    .replace('data-base-path=""', `data-base-path="${basePath}"`);
  app.setNotFoundHandler(({ method, url }, reply) => {
    const [path = ""] = url.split("?");
    const isBelowBase = path === basePath || path.startsWith(`${basePath}/`);
    if (isBelowBase && (method === "GET" || method === "HEAD") && isPage(path.slice(basePath.length)))
      return reply.header("cache-control", "no-cache").type("text/html; charset=utf-8").send(page);
    const hint = isBelowBase ? "" : `: the label app is at ${basePath}/`;
    return reply.code(404).send({ error: `there is no such address${hint}` });
  });
}

/** Whether a path may be a page's: it is not of the API, nor of a file that is missing. */
const isPage = (path: string): boolean => !/^\/(api|assets)(\/|$)/.test(path) && !/\.[^/]*$/.test(path);
