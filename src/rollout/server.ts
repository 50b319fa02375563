import { InputError } from "../data/errors.ts";
import type { Message } from "../data/records.ts";
import { completeAll, type EndpointOptions } from "../http/endpoint.ts";
import { type Completion, conversationOf, type SamplePrompt, type Sampler } from "./sampler.ts";

/**
 * Makes a sampler of an OpenAI-compatible chat server. It returns text only: completions have no tokens, so no stage
 * can train on them. The completions of a prompt are requested with the seeds `seed`, `seed + 1`, ….
 */
export const serverSampler = (server: Pick<EndpointOptions, "url" | "model" | "key">): Sampler => ({
  async sample(prompts, { temperature = 1, samples = 1, seed = 0, maxTokens, signal, onProgress }) {
    const temperatures = [temperature].flat();
    const requests = prompts.flatMap((prompt, promptIndex) =>
      Array.from({ length: samples }, (_, i) => ({
        promptIndex,
        prompt: conversation(prompt),
        temperature: temperatures[i % temperatures.length] as number,
        seed: seed + i,
      })),
    );
    const texts = await completeAll(requests, { ...server, maxTokens, signal, onProgress });
    return requests.map(
      ({ promptIndex }, i): Completion => ({
        promptIndex,
        promptTokens: [],
        tokens: [],
        logprobs: [],
        mask: [],
        text: texts[i] as string,
        finishReason: "stop",
      }),
    );
  },
});

function conversation(prompt: SamplePrompt): readonly Message[] {
  const messages = conversationOf(prompt);
  if (!messages) throw new InputError("a chat server completes conversations: it cannot be given token ids");
  return messages;
}
