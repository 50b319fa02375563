import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheDir } from "../native/locate.mjs";
import { cappedEnvironment } from "../src/tensor/native.ts";

/** Result of a measured process, which it prints as its last line. */
export interface Measured {
  /** Tokens without padding. */
  tokens: number;
  seconds: number;
  /** Peak resident memory of the process. */
  gb: number;
  /** Share of the peak rate of a matrix product in the same process, if it was measured. */
  mfu?: number;
  /** Loss at each step, where both sides take the same steps. */
  losses?: number[];
}

export const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Time limit of a process, in ms. */
const timeout = 20 * 60_000;

function run(command: string, args: readonly string[], cwd?: string): string {
  const done = spawnSync(command, args, {
    cwd,
    encoding: "utf8",
    maxBuffer: 1e8,
    timeout,
    env: { ...process.env, ...cappedEnvironment(), HF_HUB_OFFLINE: "1", TOKENIZERS_PARALLELISM: "false" },
  });
  if (done.status !== 0)
    throw new Error(`${command} ${args.join(" ")} failed (${done.status ?? done.signal}):\n${done.stderr}`);
  return done.stdout;
}

/** Runs a process that prints JSON on its last line. */
export const measure = <T = Measured>(command: string, args: readonly string[]): T =>
  JSON.parse(run(command, args).trimEnd().split("\n").at(-1) as string);

/** Returns a folder of the cache, which `make` fills once for each content of `source`. */
function prepared(name: string, source: string, make: (folder: string) => void): string {
  const hash = createHash("sha256").update(readFileSync(source)).digest("hex").slice(0, 12);
  const folder = join(cacheDir(), "bench", `${name}-${hash}`);
  if (!existsSync(join(folder, "ready"))) {
    console.error(`Setting up ${name} for the benchmark (once; up to a few GB) …`);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    make(folder);
    writeFileSync(join(folder, "ready"), "");
  }
  return folder;
}

/** Returns the Python of a virtual environment with exactly the packages of a requirements file. Default: peers/NAME.txt. */
export function python(name: string, packages: string = here(`peers/${name}.txt`)): string {
  const folder = prepared(name, packages, (made) => {
    run(process.env.PYTHON ?? "python3", ["-m", "venv", made]);
    run(join(made, "bin", "python"), ["-m", "pip", "install", "--quiet", "-r", packages]);
  });
  return join(folder, "bin", "python");
}

/** Returns the path of a GGUF file's weights in another type. */
export function ggufOf(path: string, type: string): string {
  if (type === "Q4_1") return path;
  const script = here("peers/gguf-type.py");
  const folder = prepared(`gguf-${type}`, script, (made) => {
    run(python("gguf"), [script, path, join(made, "model.gguf"), type]);
  });
  return join(folder, "model.gguf");
}

/** Returns the path of a script next to a node_modules with exactly the packages of peers/NAME.json. */
export function nodeScript(name: string): string {
  const manifest = here(`peers/${name}.json`);
  const folder = prepared(name, manifest, (made) => {
    writeFileSync(join(made, "package.json"), readFileSync(manifest));
    run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], made);
  });
  const script = join(folder, `${name}.mjs`);
  writeFileSync(script, readFileSync(here(`peers/${name}.mjs`)));
  return script;
}
