import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { InputError } from "../data/errors.ts";
import { readPrompts } from "../data/readers.ts";
import type { Prompt } from "../data/records.ts";
import { loadModel } from "../models/pull.ts";
import { openReward } from "../rewards/open.ts";
import type { Answer, Score } from "../rewards/scorer.ts";
import { modelSampler } from "../rollout/generate.ts";
import { isFinished } from "../rollout/sampler.ts";
import { columnsOption, dtypeOption, numeric } from "./options.ts";
import { interruptSignal, openLines, Progress } from "./terminal.ts";

export const define = (command: Command): Command =>
  command
    .requiredOption("--model <name>", "name, Hub id, folder, GGUF file or run")
    .option("--prompt <text>", "prompt (default without --data: standard input)")
    .option("--data <file>", "file of prompts")
    .addOption(columnsOption())
    .option("--out <file>", "output file (default: stdout)")
    .option("--max-tokens <n>", "maximum tokens of an answer", numeric(1, true), 256)
    .option("--min-tokens <n>", "minimum tokens of an answer", numeric(0, true), 0)
    .option("--temperature <t>", "sampling temperature; 0 takes the most likely token", numeric(0), 0.7)
    .option("--top-k <n>", "sample from this many most likely tokens only", numeric(1, true))
    .option("--top-p <p>", "sample from the most likely tokens with this total probability only", numeric(0))
    .option("--samples <n>", "number of answers per prompt", numeric(1, true), 1)
    .option(
      "--reward <what>",
      "write only the best answer to each prompt, scored by a reward model, a .js or .ts file, or a URL",
    )
    .option(
      "--stop <text>",
      "text that ends an answer; can be repeated",
      (value: string, all: string[] = []) => [...all, value],
    )
    .option("--seed <n>", "random seed of the sampling", numeric(0, true), 0)
    .option("--batch-size <n>", "answers decoded together", numeric(1, true), 32)
    .addOption(dtypeOption())
    .action(async ({ model: name, prompt, data, columns, out, dtype, reward, ...options }) => {
      if (reward !== undefined && options.samples < 2)
        throw new InputError("generate: --reward chooses among answers: give --samples of 2 or more");
      const prompts: Prompt[] = data
        ? (await readPrompts(data, columns)).records
        : [{ prompt: [{ role: "user", content: prompt ?? readFileSync(0, "utf8").trim() }] }];
      if (!prompts[0]?.prompt.at(-1)?.content) throw new InputError("generate: the prompt is empty");
      const signal = interruptSignal();
      const progress = new Progress(false);
      const model = await loadModel(name, {
        ...(dtype ? { dtype } : {}),
        onProgress: (text) => progress.line(text),
      });
      const completions = await modelSampler(model).sample(
        prompts.map(({ prompt }) => prompt),
        { ...options, signal, onProgress: (done, total) => progress.count(done, total, "answers") },
      );
      const answers = completions.map((completion) => ({
        ...(prompts[completion.promptIndex] as Prompt),
        ...completion,
      }));
      const chosen = reward === undefined ? answers : await bestOf(reward, answers, signal);
      // The file is opened only now, so that an error above does not overwrite an old one.
      const file = openLines(out);
      for (const answer of chosen)
        file.write({
          ...(answer.id === undefined ? {} : { id: answer.id }),
          prompt: answer.prompt,
          completion: answer.text,
          finished: isFinished(answer),
          tokens: answer.tokens.length,
          ...("score" in answer ? { score: answer.score } : {}),
        });
      file.close();
    });

/** Selects the best-scoring answer to each prompt; of equal ones the first. */
async function bestOf<T extends Answer & { promptIndex: number }>(
  reward: string,
  answers: readonly T[],
  signal: AbortSignal,
): Promise<(T & Score)[]> {
  const scorer = await openReward(reward);
  const scores = await scorer.score(answers, signal);
  const best = new Map<number, T & Score>();
  answers.forEach((answer, i) => {
    const scored = { ...answer, ...(scores[i] as Score) };
    const bestSoFar = best.get(answer.promptIndex);
    if (!bestSoFar || scored.score > bestSoFar.score) best.set(answer.promptIndex, scored);
  });
  return [...best.values()];
}
