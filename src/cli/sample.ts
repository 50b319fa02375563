import { Command, Option } from "commander";
import { InputError } from "../data/errors.ts";
import type { Prompt } from "../data/records.ts";
import type { Candidate } from "../rollout/diverse.ts";
import { numeric } from "./generate.ts";
import { withStore } from "./store.ts";
import { interruptible, lines, Progress, print } from "./terminal.ts";

interface Options {
  model: string[];
  endpoint?: string;
  data: string;
  samples: number;
  temperatures: number[];
  maxTokens: number;
  seed: number;
  out?: string;
  store?: string;
  project?: string;
  dtype?: "float32" | "bfloat16";
}

/** Drawn for each completion that is kept, so that there are different ones to choose from. */
const drawnForEach = 2;

export const sample = () =>
  new Command("sample")
    .description("Draw completions that differ, for people to compare")
    .requiredOption(
      "--model <name>",
      "name, Hub id, folder, GGUF file or run; may be given again",
      (value: string, all: string[] = []) => [...all, value],
    )
    .option("--endpoint <url>", "in place of a model here: an OpenAI-compatible server (key: OPENAI_API_KEY)")
    .requiredOption("--data <file>", "file of prompts")
    .option("--samples <n>", "completions to keep for each prompt", numeric(1, true), 4)
    .option(
      "--temperatures <list>",
      "temperatures to draw at, separated by commas",
      (text: string) => text.split(",").map(numeric(0.01)),
      [0.7, 1],
    )
    .option("--max-tokens <n>", "most tokens of a completion", numeric(1, true), 256)
    .option("--seed <n>", "seed of the sampling", numeric(0, true), 0)
    .option("--out <file>", "JSONL file to write (default: stdout, without --store)")
    .option("--store <where>", "label store to add them to, as tasks")
    .option("--project <name>", "its project; not needed where there is one")
    .addOption(new Option("--dtype <type>").choices(["float32", "bfloat16"]))
    .action(async (options: Options) => {
      const { readPrompts } = await import("../data/readers.ts");
      const { chooseDiverse } = await import("../rollout/diverse.ts");
      const { records } = await readPrompts(options.data);
      const progress = new Progress(false);
      const drawn = records.map(() => [] as Candidate[]);
      const signal = interruptible();
      for (const model of options.model) {
        progress.line(`${model}: ${records.length} prompts`);
        const found = await (options.endpoint === undefined ? drawHere : drawThere)(
          model,
          records,
          { ...options, signal },
          progress,
        );
        found.forEach((candidates, i) => drawn[i]?.push(...candidates));
      }
      const chosen = drawn.map((candidates) => chooseDiverse(candidates, options.samples));
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
            completions: completions.map((one) => ({ ...one, run: one.model })),
          }));
          await store.addTasks(null, project, tasks);
          print(`${tasks.length} tasks added to "${project.name}"`);
        });
        if (options.out === undefined) return;
      }
      const file = lines(options.out);
      for (const { prompt, id, completions } of enough)
        file.write({
          ...(id !== undefined && { id }),
          prompt,
          completions: completions.map(({ text }) => text),
          sources: completions.map(({ text: _, ...source }) => source),
        });
      file.close();
    });

/** The temperatures of a prompt's draws: each as often as another. */
const temperaturesOf = ({ samples, temperatures }: Options): number[] =>
  Array.from({ length: samples * drawnForEach }, (_, i) => temperatures[i % temperatures.length] as number);

type Draw = (
  model: string,
  records: readonly Prompt[],
  options: Options & { signal: AbortSignal },
  progress: Progress,
) => Promise<Candidate[][]>;

const drawHere: Draw = async (name, records, options, progress) => {
  const { loadModel } = await import("../models/pull.ts");
  const { encodePrompt } = await import("../text/chat.ts");
  const { generate } = await import("../rollout/generate.ts");
  const { maxTokens, seed, dtype } = options;
  const temperature = temperaturesOf(options);
  const model = await loadModel(name, {
    ...(dtype && { dtype }),
    onProgress: (text) => progress.line(text),
  });
  const rows = await generate(
    model,
    records.map(({ prompt }) => encodePrompt(model.text, prompt)),
    {
      temperature,
      samples: temperature.length,
      maxTokens,
      seed,
      signal: options.signal,
      onProgress: (done, total) => progress.count(done, total, "completions"),
    },
  );
  model.dispose();
  const drawn = records.map(() => [] as Candidate[]);
  for (const { prompt, text } of rows) {
    const own = drawn[prompt] as Candidate[];
    own.push({ text, model: name, temperature: temperature[own.length] as number, seed });
  }
  return drawn;
};

const drawThere: Draw = async (model, records, options, progress) => {
  const { completeAll } = await import("../http/endpoint.ts");
  const { endpoint: url = "", maxTokens, seed } = options;
  const temperatures = temperaturesOf(options);
  const asked = records.flatMap(({ prompt }) =>
    temperatures.map((temperature, i) => ({ prompt, temperature, seed: seed + i })),
  );
  const texts = await completeAll(asked, {
    url,
    model,
    maxTokens,
    key: process.env.OPENAI_API_KEY,
    signal: options.signal,
    onProgress: (done, total) => progress.count(done, total, "completions"),
  });
  return records.map((_, row) =>
    temperatures.map((temperature, i) => ({
      model,
      temperature,
      seed: seed + i,
      text: texts[row * temperatures.length + i] as string,
    })),
  );
};
