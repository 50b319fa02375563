import { InputError } from "../data/errors.ts";
import { type Accuracy, accuracyOf, type IfevalPrompt, readIfeval } from "../eval/ifeval.ts";
import { loadModel } from "../models/pull.ts";
import { verdictsOn } from "../rewards/instructions/instructions.ts";
import { modelSampler } from "../rollout/generate.ts";
import { formatInterval, type Interval } from "../statistics/bootstrap.ts";
import type { AnswerOptions } from "./options.ts";
import { formatTable, interruptSignal, openLines, Progress, print } from "./terminal.ts";

export interface BenchmarkOptions extends AnswerOptions {
  benchmark: "ifeval";
  data?: string;
  model?: string;
  responses?: string;
}

/** Measures how well a model, or answers made elsewhere, follow IFEval's instructions. */
export async function runIfeval(options: BenchmarkOptions): Promise<void> {
  if ((options.model === undefined) === (options.responses === undefined))
    throw new InputError("eval: give one of --model and --responses");
  if (options.responses !== undefined && options.data !== undefined)
    throw new InputError("eval: --responses has the prompts in it: leave --data out");
  const answered = await answeredPrompts(options);
  const rows = answered.map((prompt) => ({
    ...prompt,
    verdicts: verdictsOn(prompt.response, prompt.instructions),
  }));
  const accuracies = {
    strict: accuracyOf(rows.map(({ verdicts }) => verdicts.strict)),
    loose: accuracyOf(rows.map(({ verdicts }) => verdicts.loose)),
  };
  if (options.out !== undefined) {
    const file = openLines(options.out);
    for (const { key, prompt, instructions, response, verdicts } of rows)
      file.write({ key, prompt, instructions: instructions.map(({ id }) => id), response, ...verdicts });
    file.close();
  }
  if (options.json)
    print(
      JSON.stringify({
        ...mapAccuracies(accuracies, ({ value }) => value),
        intervals: mapAccuracies(accuracies, ({ low, high }) => [low, high]),
        rows: rows.map(({ key, verdicts }) => ({ key, ...verdicts })),
      }),
    );
  else print(formatAccuracies(accuracies, rows));
}

type Accuracies = Record<"strict" | "loose", Accuracy>;

const mapAccuracies = <T>({ strict, loose }: Accuracies, map: (interval: Interval) => T) => ({
  strict: { prompt: map(strict.prompt), instruction: map(strict.instruction) },
  loose: { prompt: map(loose.prompt), instruction: map(loose.instruction) },
});

function formatAccuracies({ strict, loose }: Accuracies, prompts: readonly IfevalPrompt[]): string {
  const instructions = prompts.reduce((sum, prompt) => sum + prompt.instructions.length, 0);
  const row = (name: string, { prompt, instruction }: Accuracy) => [
    name,
    formatInterval(prompt),
    formatInterval(instruction),
  ];
  const table = formatTable([
    ["followed", `of ${prompts.length} prompts`, `of ${instructions} instructions`],
    row("strict", strict),
    row("loose", loose),
  ]);
  const mean = (strict.prompt.value + strict.instruction.value) / 2;
  return `${table}\nMean of strict prompt and instruction accuracy: ${mean.toFixed(3)}. Intervals are 95 %, over prompts.`;
}

/** Reads prompts that are answered, or lets the model answer them. */
async function answeredPrompts({
  model: name,
  data,
  responses,
  dtype,
  ...options
}: BenchmarkOptions): Promise<(IfevalPrompt & { response: string })[]> {
  if (responses !== undefined)
    return (await readIfeval(responses)).map((prompt) => {
      if (prompt.response === undefined)
        throw new InputError(`${responses}: the prompt with key ${prompt.key} has no response`);
      return { ...prompt, response: prompt.response };
    });
  const signal = interruptSignal("\nstopping\n");
  const progress = new Progress(false);
  const prompts = await readIfeval(data);
  const model = await loadModel(name as string, {
    ...(dtype ? { dtype } : {}),
    onProgress: (text) => progress.line(text),
  });
  const completions = await modelSampler(model).sample(
    prompts.map(({ prompt }) => [{ role: "user" as const, content: prompt }]),
    {
      maxTokens: options.maxTokens ?? 1280,
      temperature: options.temperature ?? 0,
      seed: options.seed,
      batchSize: options.batchSize,
      signal,
      onProgress: (done, total) => progress.count(done, total, "answers"),
    },
  );
  const texts = new Map(completions.map(({ promptIndex, text }) => [promptIndex, text]));
  return prompts.map((prompt, i) => ({ ...prompt, response: texts.get(i) ?? "" }));
}
