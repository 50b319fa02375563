// Where the engine lives on this machine. Shared by the set-up script, which puts it there, and by the loader.
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const torchVersion = "2.15.0";

/** The user's cache: PLUMBLINE_CACHE, else the platform's usual folder. */
export function cacheDir() {
  if (process.env.PLUMBLINE_CACHE) return process.env.PLUMBLINE_CACHE;
  if (process.platform === "darwin") return join(homedir(), "Library", "Caches", "plumbline");
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "plumbline");
}

const source = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Sources of the addon. */
export const addonSources = ["addon.cc", "cpu.cc", "kernels.cc", "attention.cc", "products.cc"].map(source);

/** Whether the addon emulates AVX-512 bf16 (native/emulate.h), for the tests of machines that lack it. */
export const emulated = process.env.PLUMBLINE_EMULATE === "1";

/** Folder of the addon built from this source; it holds plumbline.node once set-up has run. */
export function addonDir() {
  const hash = createHash("sha256").update(torchVersion);
  // The sources' hash names the build, so that clones and versions share a cache in peace.
  for (const file of [...addonSources, ...["bf16.h", "cpu.h", "emulate.h", "tiles.h"].map(source)])
    hash.update(readFileSync(file));
  hash.update(process.env.PLUMBLINE_LIBTORCH ?? "").update(process.platform + process.arch);
  if (emulated) hash.update("emulated");
  return join(cacheDir(), `addon-${hash.digest("hex").slice(0, 16)}`);
}

/** Path of the built addon, or undefined before set-up. */
export function findAddon() {
  const path = join(addonDir(), "plumbline.node");
  return existsSync(path) ? path : undefined;
}
