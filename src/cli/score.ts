import { Command, Option } from "commander";
import { InputError } from "../data/errors.ts";
import { interruptible, lines, Progress } from "./terminal.ts";

export const score = () =>
  new Command("score")
    .description("Score completions with a reward model, as JSON lines")
    .requiredOption("--model <name>", "reward model: folder or run")
    .requiredOption("--data <file>", "JSONL file of prompts with a completion each, or of comparisons")
    .option("--out <file>", "where to write (default: standard output)")
    .addOption(new Option("--dtype <type>").choices(["float32", "bfloat16"]))
    .action(async ({ model: name, data, out, dtype }) => {
      const { checkData, readComparisons, readDemonstrations } = await import("../data/readers.ts");
      const compared = checkData(data).kind === "comparison";
      const rows = compared
        ? readComparisons(data).records.map(({ prompt, completions, ranks }) => ({
            prompt,
            completions,
            ranks,
          }))
        : readDemonstrations(data).records.map(({ prompt, completion }) => ({
            prompt,
            completions: [completion],
            ranks: undefined,
          }));
      const signal = interruptible();
      const { loadModel } = await import("../models/pull.ts");
      const { encodeExample } = await import("../text/chat.ts");
      const { scoreAll } = await import("../rollout/score.ts");
      const progress = new Progress(false);
      const model = await loadModel(name, {
        ...(dtype ? { dtype } : {}),
        onProgress: (text) => progress.line(text),
      });
      if (model.head !== "score")
        throw new InputError(`${name}: this model has no scalar head: train one with \`plumbline reward\``);
      const scored = [];
      for (const [i, { prompt, completions, ranks }] of rows.entries()) {
        signal.throwIfAborted();
        const encoded = completions.map((completion) => encodeExample(model.text, prompt, completion));
        const { context } = model.dimensions;
        const longest = Math.max(...encoded.map((row) => row.prompt.length + row.response.length));
        if (longest > context)
          throw new InputError(
            `${data}: record ${i + 1} has ${longest} tokens and the model's context is ${context}`,
          );
        const scores = scoreAll(model, encoded);
        scored.push(
          compared
            ? { prompt, completions, ranks, scores }
            : { prompt, completion: completions[0], score: scores[0] },
        );
      }
      const file = lines(out);
      for (const row of scored) file.write(row);
      file.close();
    });
