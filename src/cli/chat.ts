import { createInterface } from "node:readline/promises";
import { setImmediate } from "node:timers/promises";
import type { Command } from "commander";
import type { Message } from "../data/records.ts";
import { loadModel } from "../models/pull.ts";
import { decode } from "../rollout/generate.ts";
import { Rng } from "../tensor/index.ts";
import { encodePrompt } from "../text/chat.ts";
import { dtypeOption, numeric } from "./options.ts";

export const define = (command: Command): Command =>
  command
    .requiredOption("--model <name>", "name, Hub id, folder, GGUF file or run")
    .option("--system <text>", "system message")
    .option("--max-tokens <n>", "most tokens of an answer", numeric(1, true), 512)
    .option("--temperature <t>", "0 takes the likeliest token", numeric(0), 0.7)
    .option("--top-p <p>", "sample among the likeliest tokens of this probability", numeric(0))
    .option("--seed <n>", "seed of the sampling", numeric(0, true), 0)
    .addOption(dtypeOption())
    .action(async ({ model: name, system, maxTokens, temperature, topP, seed, dtype }) => {
      const model = await loadModel(name, {
        ...(dtype ? { dtype } : {}),
        onProgress: (text) => console.error(text),
      });
      const rng = new Rng(seed);
      const begin = (): Message[] => (system ? [{ role: "system", content: system }] : []);
      let messages = begin();
      const input = createInterface({
        input: process.stdin,
        output: process.stderr,
        terminal: process.stdin.isTTY ?? false,
      });
      let stopped = false;
      input.on("SIGINT", () => {
        if (stopped) input.close();
        stopped = true;
      });
      input.setPrompt("> ");
      input.prompt();
      for await (const line of input) {
        const said = line.trim();
        if (said === "/exit") break;
        if (said === "/reset") messages = begin();
        else if (said) {
          messages.push({ role: "user", content: said });
          stopped = false;
          let shown = "";
          for (const rows of decode(model, [encodePrompt(model.text, messages)], {
            maxTokens,
            temperature,
            topP,
            rng,
          })) {
            const [row] = rows;
            if (!row) break;
            const text = model.text.decode(row.tokens);
            // A character of several tokens shows as � until it is whole.
            if (!text.endsWith("\uFFFD")) {
              process.stdout.write(text.slice(shown.length));
              shown = text;
            }
            await setImmediate();
            if (stopped) break; // Ctrl-C ends the answer, not the talk
          }
          process.stdout.write("\n");
          messages.push({ role: "assistant", content: shown });
        }
        input.prompt();
      }
      input.close();
    });
