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
    .option("--max-tokens <n>", "maximum tokens of an answer", numeric(1, true), 512)
    .option("--temperature <t>", "sampling temperature; 0 takes the most likely token", numeric(0), 0.7)
    .option("--top-p <p>", "sample from the most likely tokens with this total probability only", numeric(0))
    .option("--seed <n>", "random seed of the sampling", numeric(0, true), 0)
    .addOption(dtypeOption())
    .action(async ({ model: name, system, maxTokens, temperature, topP, seed, dtype }) => {
      const model = await loadModel(name, {
        ...(dtype ? { dtype } : {}),
        onProgress: (text) => console.error(text),
      });
      const rng = new Rng(seed);
      const newConversation = (): Message[] => (system ? [{ role: "system", content: system }] : []);
      let messages = newConversation();
      const terminal = createInterface({
        input: process.stdin,
        output: process.stderr,
        terminal: process.stdin.isTTY ?? false,
      });
      let stopped = false;
      terminal.on("SIGINT", () => {
        if (stopped) terminal.close();
        stopped = true;
      });
      terminal.setPrompt("> ");
      terminal.prompt();
      for await (const line of terminal) {
        const input = line.trim();
        if (input === "/exit") break;
        if (input === "/reset") messages = newConversation();
        else if (input) {
          messages.push({ role: "user", content: input });
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
            // The decoded text ends in U+FFFD while a character's last tokens are missing.
            if (!text.endsWith("\uFFFD")) {
              process.stdout.write(text.slice(shown.length));
              shown = text;
            }
            await setImmediate();
            if (stopped) break; // Ctrl-C ends the answer, not the chat
          }
          process.stdout.write("\n");
          messages.push({ role: "assistant", content: shown });
        }
        terminal.prompt();
      }
      terminal.close();
    });
