import { setImmediate } from "node:timers/promises";
import type { Command } from "commander";
import type { Row } from "../batch/pack.ts";
import { scoreAll } from "../batch/score.ts";
import { InputError } from "../data/errors.ts";
import { checkData, readComparisons, readDemonstrations } from "../data/readers.ts";
import { openEnsemble } from "../models/ensemble.ts";
import { loadModel } from "../models/pull.ts";
import { scoreByEnsemble } from "../rewards/ensemble.ts";
import { encodeExample } from "../text/chat.ts";
import { columnsOption, dtypeOption } from "./options.ts";
import { interruptSignal, openLines, Progress } from "./terminal.ts";

/** Score of an answer, with an ensemble also how far its members disagree. */
interface Scored {
  score: number;
  disagreement?: number;
}

export const define = (command: Command): Command =>
  command
    .requiredOption("--model <name>", "reward model or ensemble: folder or run")
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
      const options = { ...(dtype ? { dtype } : {}), onProgress: (text: string) => progress.line(text) };
      const ensemble = openEnsemble(name, options);
      const model = ensemble?.members[0] ?? (await loadModel(name, options));
      if (model.head !== "score")
        throw new InputError(`${name}: this model has no scalar head: train one with \`plumbline reward\``);
      const scoreRows = (rows: Row[]): Scored[] =>
        ensemble ? scoreByEnsemble(ensemble, rows) : scoreAll(model, rows).map((score) => ({ score }));
      const { context } = model.dimensions;
      const encoded = rows.map(({ prompt, completions }, i) => {
        const examples = completions.map((completion) => encodeExample(model.text, prompt, completion));
        const longest = Math.max(...examples.map((row) => row.promptTokens.length + row.tokens.length));
        if (longest <= context) return examples;
        throw new InputError(
          `${data}: record ${i + 1} has ${longest} tokens and the model's context is ${context}`,
        );
      });
      const scored: Scored[][] = [];
      while (scored.length < rows.length) {
        const part = encoded.slice(scored.length, scored.length + 32);
        const flat = scoreRows(part.flat());
        for (const examples of part) scored.push(flat.splice(0, examples.length));
        progress.count(scored.length, rows.length, "records");
        await setImmediate(); // lets signal handlers run
        signal.throwIfAborted();
      }
      const file = openLines(out);
      for (const [i, { prompt, completions, ranks }] of rows.entries()) {
        const answers = scored[i] as Scored[];
        const scores = answers.map(({ score }) => score);
        const disagreements = answers.map(({ disagreement }) => disagreement);
        file.write(
          compared
            ? { prompt, completions, ranks, scores, ...(ensemble && { disagreements }) }
            : { prompt, completion: completions[0], ...answers[0] },
        );
      }
      file.close();
    });
