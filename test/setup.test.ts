import { chmodSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, posix } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { cpuMembers, findLibtorch, SetupError, wheels } from "../scripts/setup.mjs";

/** Dependencies of the libraries in the wheels of each platform, from test/golden/make_libraries.py. */
type Libraries = Record<string, { needed: string[]; paths: string[] }>;
const golden: Record<string, { wheels: string[]; libraries: Libraries }> = JSON.parse(
  readFileSync(new URL("golden/libraries.json", import.meta.url), "utf8"),
);

/** Libraries that every system with a compiler has, and zlib, which dpkg and rpm need. */
const system: Record<string, RegExp> = {
  linux: /^(ld-linux-(x86-64|aarch64)|lib(c|m|dl|rt|util|pthread|gcc_s|stdc\+\+|z))\.so\.\d+$/,
  darwin: /^(\/usr\/lib\/|\/System\/Library\/Frameworks\/)/,
};

describe.each(Object.keys(wheels))("set-up on %s", (platform) => {
  const { wheels: pinned, libraries } = golden[platform] as (typeof golden)[string];
  const unpacked = new Map(Object.entries(libraries).filter(([name]) => new RegExp(cpuMembers).test(name)));
  const isSystem = (name: string) => system[platform.split("-")[0] as string]?.test(name);

  it("has libraries.json for the wheels that it pins", () => {
    expect(wheels[platform]?.map(([, , , sha256]) => sha256)).toEqual(pinned);
  });

  it("unpacks every library that libtorch_cpu needs, where the loader looks for it", () => {
    const first = [...unpacked.keys()].filter((name) => /\/lib(torch_cpu|c10)\./.test(name));
    expect(first).toHaveLength(2);
    const missing: string[] = [];
    const seen = new Set<string>();
    /** @param inherited folders that libraries further up are looked for in: RPATH holds for all below */
    const visit = (library: string, inherited: readonly string[]): void => {
      if (seen.has(library)) return;
      seen.add(library);
      const { needed, paths } = unpacked.get(library) as Libraries[string];
      const at = (path: string) =>
        posix.normalize(path.replace(/\$ORIGIN|@loader_path/, posix.dirname(library)));
      const folders = [...inherited, ...paths.map(at)].map((folder) => folder.replace(/\/$/, ""));
      for (const name of needed) {
        if (isSystem(name)) continue;
        const found = folders
          .map((folder) => `${folder}/${basename(name)}`)
          .find((path) => unpacked.has(path));
        if (found) visit(found, folders);
        else if (posix.basename(library) !== basename(name)) missing.push(`${library} needs ${name}`);
      }
    };
    for (const library of first) visit(library, []);
    expect(missing).toEqual([]);
    expect(seen.size).toBeGreaterThanOrEqual(3);
  });
});

describe("a set-up that fails", () => {
  afterEach(() => vi.unstubAllEnvs());

  it("leaves no folder of a libtorch in the cache", async () => {
    const folder = mkdtempSync(join(tmpdir(), "failed-setup-"));
    // A Python that starts, and fails at everything else: without pip, or without a network.
    const python = join(folder, "python");
    writeFileSync(python, '#!/bin/sh\n[ "$1" = --version ]\n');
    chmodSync(python, 0o755);
    const cache = join(folder, "cache");
    for (const [name, value] of Object.entries({
      PYTHON: python,
      PLUMBLINE_CACHE: cache,
      PLUMBLINE_LIBTORCH: "",
    }))
      vi.stubEnv(name, value);
    await expect(findLibtorch()).rejects.toThrow(SetupError);
    expect(readdirSync(cache)).toEqual(["downloads"]);
  });
});
