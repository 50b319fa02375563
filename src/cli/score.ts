import { setImmediate } from "node:timers/promises";
import type { Command } from "commander";
import { scoreAll } from "../batch/score.ts";
import { InputError } from "../data/errors.ts";
import { checkData, readComparisons, readDemonstrations } from "../data/readers.ts";
import { loadModel } from "../models/pull.ts";
import { encodeExample } from "../text/chat.ts";
import { columnsOption, dtypeOption } from "./options.ts";
import { interruptSignal, openLines, Progress } from "./terminal.ts";

export const define = (command: Command): Command =>
  command
    .requiredOption("--model <name>", "reward model: folder or run")
    .requiredOption("--data <file>", "file of prompts with one completion each, or of comparisons")
    .addOption(columnsOption())
    .option("--out <file>", "output file (default: stdout)")
    .addOption(dtypeOption())
    .action(async ({ model: name, data, columns, out, dtype }) => {
      const compared = (await checkData(data, columns)).kind === "comparison";
      const rows = compared
        ? (await readComparisons(data, columns)).records.map(({ prompt, completions, ranks }) => ({
            prompt,
            completions,
            ranks,
          }))
        : (await readDemonstrations(data, columns)).records.map(({ prompt, completion }) => ({
            prompt,
            completions: [completion],
            ranks: undefined,
          }));
      const signal = interruptSignal();
      const progress = new Progress(false);
      const model = await loadModel(name, {
        ...(dtype ? { dtype } : {}),
        onProgress: (text) => progress.line(text),
      });
      if (model.head !== "score")
        throw new InputError(`${name}: this model has no scalar head: train one with \`plumbline reward\``);
      const { context } = model.dimensions;
      const encoded = rows.map(({ prompt, completions }, i) => {
        const examples = completions.map((completion) => encodeExample(model.text, prompt, completion));
        const longest = Math.max(...examples.map((row) => row.promptTokens.length + row.tokens.length));
        if (longest <= context) return examples;
        throw new InputError(
          `${data}: record ${i + 1} has ${longest} tokens and the model's context is ${context}`,
        );
      });
      const scores: number[][] = [];
      while (scores.length < rows.length) {
        const part = encoded.slice(scores.length, scores.length + 32);
        const flat = scoreAll(model, part.flat());
        for (const examples of part) scores.push(flat.splice(0, examples.length));
        progress.count(scores.length, rows.length, "records");
        await setImmediate(); // lets signal handlers run
        signal.throwIfAborted();
      }
      const file = openLines(out);
      for (const [i, { prompt, completions, ranks }] of rows.entries())
        file.write(
          compared
            ? { prompt, completions, ranks, scores: scores[i] }
            : { prompt, completion: completions[0], score: scores[i]?.[0] },
        );
      file.close();
    });
