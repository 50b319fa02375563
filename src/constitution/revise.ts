import type { Message, Prompt } from "../data/records.ts";
import { uniform } from "../math/index.ts";
import { drawPrinciple, principlesFor } from "./constitution.ts";
import type { Feedback, PhaseOptions } from "./feedback.ts";

/** A round of critique and revision. */
export interface Round {
  principle: string;
  critique: string;
  revision: string;
}

/** A response with its revisions: a line of the log. */
export interface RevisedResponse {
  prompt: Message[];
  id?: string;
  response: string;
  rounds: Round[];
}

export interface ReviseOptions extends PhaseOptions {
  /** Writes the responses that are criticised. */
  policy: Feedback;
  /** Criticises and revises the responses. A stronger model than the policy is best. */
  critic: Feedback;
  /** Critiques and revisions of each response. */
  rounds: number;
}

/**
 * Runs the supervised phase of Constitutional AI (Bai et al. 2022b, §3): samples responses, then criticises and revises
 * each in several rounds. Every round draws a principle and starts from the last revision.
 * @param offset index of the first prompt in the whole file: the principles drawn do not depend on the batch size
 */
export async function revise(
  prompts: readonly Prompt[],
  { constitution, policy, critic, rounds, onPhase = () => {}, ...options }: ReviseOptions,
  offset = 0,
): Promise<RevisedResponse[]> {
  const principles = principlesFor(constitution, "critique");
  const { seed } = options;
  /** Options with a different seed for each text of a prompt. */
  const withSeed = (text: number) => ({ ...options, seed: seed + offset + 1_000_003 * text });
  onPhase(`${policy.name} answers ${prompts.length} prompts`);
  const responses = await policy.write(
    prompts.map(({ prompt }) => prompt),
    withSeed(0),
  );
  const all = prompts.map(
    ({ prompt, id }, i): RevisedResponse => ({
      prompt,
      ...(id !== undefined && { id }),
      response: responses[i] as string,
      rounds: [],
    }),
  );
  for (let round = 0; round < rounds; round++) {
    const drawn = all.map((_, i) =>
      drawPrinciple(principles, uniform(seed + (offset + i) * rounds + round)()),
    );
    const conversations = all.map(({ prompt, response, rounds }, i): Message[] => [
      ...prompt,
      { role: "assistant", content: rounds.at(-1)?.revision ?? response },
      { role: "user", content: drawn[i]?.critique as string },
    ]);
    onPhase(`round ${round + 1} of ${rounds}: ${critic.name} criticises`);
    const critiques = await critic.write(conversations, withSeed(2 * round + 1));
    onPhase(`round ${round + 1} of ${rounds}: ${critic.name} revises`);
    const revisions = await critic.write(
      conversations.map((conversation, i): Message[] => [
        ...conversation,
        { role: "assistant", content: critiques[i] as string },
        { role: "user", content: drawn[i]?.revision as string },
      ]),
      withSeed(2 * round + 2),
    );
    all.forEach(({ rounds }, i) => {
      rounds.push({
        principle: drawn[i]?.name as string,
        critique: critiques[i] as string,
        revision: revisions[i] as string,
      });
    });
  }
  return all;
}

/** Returns the response to train on: the last revision that is not empty, else the response itself. */
export const finalResponse = ({ response, rounds }: RevisedResponse): string =>
  rounds.findLast(({ revision }) => revision !== "")?.revision ?? response;
