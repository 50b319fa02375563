import { z } from "zod";
import type { Message } from "../records.ts";
import { defineFormat, identifier, omitUndefined, userMessage } from "./format.ts";

/** Instructions with answers in the form of Alpaca (Taori et al. 2023). */
export const alpaca = defineFormat(
  { name: "Alpaca", kind: "demonstration", fields: ["instruction", "output"] },
  z.object({
    instruction: z.string(),
    input: z.string().nullish(),
    output: z.string(),
    system: z.string().nullish(),
    /** Earlier turns: pairs of a user's message and the answer to it. */
    history: z.array(z.tuple([z.string(), z.string()])).nullish(),
    id: identifier,
  }),
  ({ instruction, input, output, system, history, ...rest }) => {
    const earlier = (history ?? []).flatMap(([asked, answered]): Message[] => [
      userMessage(asked),
      { role: "assistant", content: answered },
    ]);
    const before: Message[] = system ? [{ role: "system", content: system }] : [];
    const asked = userMessage([instruction, input].filter(Boolean).join("\n\n"));
    return [{ prompt: [...before, ...earlier, asked], completions: [output], ...omitUndefined(rest) }];
  },
);
