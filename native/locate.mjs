// Paths of the engine on this machine, shared by the set-up script, which installs it, and the loader.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const torchVersion = "2.15.0";

/** Returns the cache folder: PLUMBLINE_CACHE, else the platform's cache folder. */
export function cacheDir() {
  if (process.env.PLUMBLINE_CACHE) return process.env.PLUMBLINE_CACHE;
  if (process.platform === "darwin") return join(homedir(), "Library", "Caches", "plumbline");
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "plumbline");
}

const source = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Sources of the addon. */
export const addonSources = ["addon.cc", "cpu.cc", "kernels.cc", "attention.cc", "products.cc"].map(source);

/**
 * Compiler flags of the kernels. Without `-fno-trapping-math` GCC leaves loops with conditions scalar on AVX2: the
 * activations, softmax and its gradient. Results are the same.
 */
export const kernelFlags = [
  "-O3",
  "-fno-math-errno",
  "-fno-trapping-math",
  "-fopenmp-simd",
  "-std=c++20",
  "-w",
];

/** Whether the addon emulates instruction sets (native/levels.h), for the tests of machines that lack them. */
export const emulated = process.env.PLUMBLINE_EMULATE === "1";

/** Folder of the addon built from these sources; contains plumbline.node after set-up. */
export function addonDir() {
  const hash = createHash("sha256").update(torchVersion);
  // The hash of sources and flags names the build, so that clones and versions can share a cache.
  for (const name of readdirSync(source(".")).sort())
    if (/\.(cc|h|inl)$/.test(name)) hash.update(readFileSync(source(name)));
  for (const setting of ["PLUMBLINE_LIBTORCH", "CXX"])
    hash.update(`${setting}=${process.env[setting] ?? ""}`);
  hash.update(process.platform + process.arch + kernelFlags.join(" "));
  if (emulated) hash.update("emulated");
  return join(cacheDir(), `addon-${hash.digest("hex").slice(0, 16)}`);
}

/** Returns the path of the built addon; undefined before set-up. */
export function findAddon() {
  const path = join(addonDir(), "plumbline.node");
  return existsSync(path) ? path : undefined;
}
