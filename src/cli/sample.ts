import type { Command } from "commander";
import { InputError } from "../data/errors.ts";
import { readPrompts } from "../data/readers.ts";
import type { Prompt } from "../data/records.ts";
import type { Columns } from "../data/tables.ts";
import { loadModel } from "../models/pull.ts";
import { type Candidate, chooseDiverse } from "../rollout/diverse.ts";
import { modelSampler } from "../rollout/generate.ts";
import { serverSampler } from "../rollout/server.ts";
import { columnsOption, dtypeOption, numeric } from "./options.ts";
import { withStore } from "./store.ts";
import { interruptSignal, openLines, Progress, print } from "./terminal.ts";

interface Options {
  model: string[];
  endpoint?: string;
  data: string;
  columns?: Columns;
  samples: number;
  temperatures: number[];
  maxTokens: number;
  seed: number;
  out?: string;
  store?: string;
  project?: string;
  dtype?: "float32" | "bfloat16";
}

/** Completions sampled for each one that is chosen, so that they can be chosen to differ. */
const oversampling = 2;

export const define = (command: Command): Command =>
  command
    .requiredOption(
      "--model <name>",
      "name, Hub id, folder, GGUF file or run; may be given again",
      (value: string, all: string[] = []) => [...all, value],
    )
    .option("--endpoint <url>", "sample from an OpenAI-compatible server instead (key: OPENAI_API_KEY)")
    .requiredOption("--data <file>", "file of prompts")
    .addOption(columnsOption())
    .option("--samples <n>", "number of completions to keep per prompt", numeric(1, true), 4)
    .option(
      "--temperatures <list>",
      "sampling temperatures, separated by commas",
      (text: string) => text.split(",").map(numeric(0.01)),
      [0.7, 1],
    )
    .option("--max-tokens <n>", "maximum tokens of a completion", numeric(1, true), 256)
    .option("--seed <n>", "random seed of the sampling", numeric(0, true), 0)
    .option("--out <file>", "JSONL file to write (default: stdout, without --store)")
    .option("--store <where>", "label store to add the completions to, as tasks")
    .option("--project <name>", "its project, by name or id; not needed if there is only one")
    .addOption(dtypeOption())
    .action(async (options: Options) => {
      const { records } = await readPrompts(options.data, options.columns);
      const progress = new Progress(false);
      const sampled = records.map(() => [] as Candidate[]);
      const signal = interruptSignal();
      for (const model of options.model) {
        progress.line(`${model}: ${records.length} prompts`);
        const candidates = await sampleFrom(model, records, { ...options, signal }, progress);
        candidates.forEach((ofPrompt, i) => sampled[i]?.push(...ofPrompt));
      }
      const chosen = sampled.map((candidates) => chooseDiverse(candidates, options.samples));
      const least = Math.min(2, options.samples);
      const enough = records.flatMap(({ prompt, id }, i) => {
        const completions = chosen[i] as Candidate[];
        return completions.length < least ? [] : [{ prompt, id, completions }];
      });
      const few = records.length - enough.length;
      if (few) progress.line(`  ${few} prompts left out: their completions are all alike or empty`);
      if (!enough.length) throw new InputError("sample: no prompt has completions that differ");
      if (options.store !== undefined) {
        await withStore(options.store, async (store, find) => {
          const project = await find(options.project);
          const tasks = enough.map(({ prompt, completions }) => ({
            messages: prompt,
            source: options.data,
            completions: completions.map((completion) => ({ ...completion, run: completion.model })),
          }));
          await store.addTasks(null, project, tasks);
          print(`${tasks.length} tasks added to "${project.name}"`);
        });
        if (options.out === undefined) return;
      }
      const file = openLines(options.out);
      for (const { prompt, id, completions } of enough)
        file.write({
          ...(id !== undefined && { id }),
          prompt,
          completions: completions.map(({ text }) => text),
          sources: completions.map(({ text: _, ...source }) => source),
        });
      file.close();
    });

/** Temperatures of a prompt's completions: each in turn. */
const temperaturesOf = ({ samples, temperatures }: Options): number[] =>
  Array.from({ length: samples * oversampling }, (_, i) => temperatures[i % temperatures.length] as number);

/** Samples candidates for each prompt from a model in this process, or on a server. */
async function sampleFrom(
  name: string,
  prompts: readonly Prompt[],
  options: Options & { signal: AbortSignal },
  progress: Progress,
): Promise<Candidate[][]> {
  const { sampler, dispose, isServer } = await openSampler(name, options, progress);
  const { maxTokens, seed, signal } = options;
  const temperatures = temperaturesOf(options);
  try {
    const completions = await sampler.sample(
      prompts.map(({ prompt }) => prompt),
      {
        temperature: temperatures,
        samples: temperatures.length,
        maxTokens,
        seed,
        signal,
        onProgress: (done, total) => progress.count(done, total, "completions"),
      },
    );
    const byPrompt = prompts.map(() => [] as Candidate[]);
    for (const { promptIndex, text } of completions) {
      const candidates = byPrompt[promptIndex] as Candidate[];
      const i = candidates.length;
      candidates.push({
        text,
        model: name,
        temperature: temperatures[i] as number,
        seed: isServer ? seed + i : seed,
      });
    }
    return byPrompt;
  } finally {
    dispose();
  }
}

/** Opens the sampler of a model. */
async function openSampler(name: string, { endpoint: url, dtype }: Options, progress: Progress) {
  if (url !== undefined) {
    const sampler = serverSampler({ url, model: name, key: process.env.OPENAI_API_KEY });
    return { sampler, dispose: () => {}, isServer: true };
  }
  const onProgress = (text: string) => progress.line(text);
  const model = await loadModel(name, { ...(dtype && { dtype }), onProgress });
  return { sampler: modelSampler(model), dispose: () => model.dispose(), isServer: false };
}
