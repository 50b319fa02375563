import { readFileSync } from "node:fs";
import { Command, Option } from "commander";
import { InputError } from "../data/errors.ts";
import type { Prompt } from "../data/records.ts";
import type { Response } from "../rollout/generate.ts";
import { interruptible, lines, Progress } from "./terminal.ts";

/** An option's number. @throws InputError when it is none or under `min` */
export const numeric =
  (min: number, whole = false) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= min) || (whole && !Number.isInteger(value)))
      throw new InputError(`"${text}" should be ${whole ? "a whole number" : "a number"}, ${min} or more`);
    return value;
  };

export const generate = () =>
  new Command("generate")
    .description("Answer prompts, as JSON lines")
    .requiredOption("--model <name>", "name, Hub id, folder, GGUF file or run")
    .option("--prompt <text>", "one prompt; without it and --data, standard input is one")
    .option("--data <file>", "file of prompts")
    .option("--out <file>", "where to write (default: standard output)")
    .option("--max-tokens <n>", "most tokens of an answer", numeric(1, true), 256)
    .option("--min-tokens <n>", "fewest tokens of an answer", numeric(0, true), 0)
    .option("--temperature <t>", "0 takes the likeliest token", numeric(0), 0.7)
    .option("--top-k <n>", "sample among this many likeliest tokens", numeric(1, true))
    .option("--top-p <p>", "sample among the likeliest tokens of this probability", numeric(0))
    .option("--samples <n>", "answers to each prompt", numeric(1, true), 1)
    .option(
      "--reward <what>",
      "write only each prompt's best answer by this: a reward model, a .js or .ts file, an address",
    )
    .option(
      "--stop <text>",
      "text that ends an answer; may be given again",
      (value: string, all: string[] = []) => [...all, value],
    )
    .option("--seed <n>", "seed of the sampling", numeric(0, true), 0)
    .option("--batch-size <n>", "answers decoded together", numeric(1, true), 32)
    .addOption(new Option("--dtype <type>").choices(["float32", "bfloat16"]))
    .action(async ({ model: name, prompt, data, out, dtype, reward, ...options }) => {
      if (reward !== undefined && options.samples < 2)
        throw new InputError("generate: --reward chooses among answers: give --samples of 2 or more");
      const { readPrompts } = await import("../data/readers.ts");
      const prompts: Prompt[] = data
        ? (await readPrompts(data)).records
        : [{ prompt: [{ role: "user", content: prompt ?? readFileSync(0, "utf8").trim() }] }];
      if (!prompts[0]?.prompt.at(-1)?.content) throw new InputError("generate: the prompt is empty");
      const signal = interruptible();
      const { loadModel } = await import("../models/pull.ts");
      const { encodePrompt } = await import("../text/chat.ts");
      const rollout = await import("../rollout/generate.ts");
      const progress = new Progress(false);
      const model = await loadModel(name, {
        ...(dtype ? { dtype } : {}),
        onProgress: (text) => progress.line(text),
      });
      const encoded = prompts.map((one) => encodePrompt(model.text, one.prompt));
      // The file is opened only now, so that a mistake leaves an old one as it was.
      const rows = await rollout.generate(model, encoded, {
        ...options,
        signal,
        onProgress: (done, total) => progress.count(done, total, "answers"),
      });
      const scores = reward === undefined ? undefined : await scoresOf(reward, prompts, rows, signal);
      const file = lines(out);
      for (const [i, row] of scores ? bestOf(rows, scores) : rows.entries()) {
        const { prompt: messages, id } = prompts[row.prompt] as Prompt;
        file.write({
          ...(id === undefined ? {} : { id }),
          prompt: messages,
          completion: row.text,
          finished: row.finished,
          tokens: row.tokens.length,
          ...(scores && { score: scores[i] }),
        });
      }
      file.close();
    });

async function scoresOf(
  reward: string,
  prompts: readonly Prompt[],
  rows: readonly Response[],
  signal: AbortSignal,
): Promise<number[]> {
  const { openReward } = await import("../rewards/open.ts");
  const judge = await openReward(reward);
  const samples = rows.map(({ prompt, text, finished }) => ({
    ...(prompts[prompt] as Prompt),
    response: text,
    finished,
  }));
  return (await judge.score(samples, signal)).total;
}

/** Of each prompt the answer that scores highest, the first of equals, with its place among all. */
function bestOf(rows: readonly Response[], scores: readonly number[]): [place: number, row: Response][] {
  const best = new Map<number, number>();
  rows.forEach(({ prompt }, i) => {
    const held = best.get(prompt);
    if (held === undefined || (scores[i] as number) > (scores[held] as number)) best.set(prompt, i);
  });
  return [...best.values()].map((i) => [i, rows[i] as Response]);
}
