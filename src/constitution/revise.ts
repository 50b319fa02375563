import type { Message, Prompt } from "../data/records.ts";
import { uniform } from "../math/index.ts";
import { draw, principlesFor } from "./constitution.ts";
import type { Feedback, PhaseOptions } from "./feedback.ts";

/** What a round changed, and under which principle. */
export interface Round {
  principle: string;
  critique: string;
  revision: string;
}

/** A response and what became of it: a line of the log. */
export interface Revised {
  prompt: Message[];
  id?: string;
  response: string;
  rounds: Round[];
}

export interface ReviseOptions extends PhaseOptions {
  /** Writes the responses that are criticised. */
  policy: Feedback;
  /** Criticises and revises them; best a stronger model. */
  critic: Feedback;
  rounds: number;
}

/**
 * The supervised phase of Constitutional AI (Bai et al. 2022b, §3): responses, each criticised and revised by a principle
 * drawn for the round, again from what the last round made.
 * @param place of the first prompt among all, so that principles drawn do not depend on how many are revised at once
 */
export async function revise(
  prompts: readonly Prompt[],
  { constitution, policy, critic, rounds, onPhase = () => {}, ...options }: ReviseOptions,
  place = 0,
): Promise<Revised[]> {
  const principles = principlesFor(constitution, "critique");
  const { seed } = options;
  /** Each text of a prompt has a seed of its own. */
  const at = (text: number) => ({ ...options, seed: seed + place + 1_000_003 * text });
  onPhase(`${policy.name} answers ${prompts.length} prompts`);
  const responses = await policy.write(
    prompts.map(({ prompt }) => prompt),
    at(0),
  );
  const all = prompts.map(
    ({ prompt, id }, i): Revised => ({
      prompt,
      ...(id !== undefined && { id }),
      response: responses[i] as string,
      rounds: [],
    }),
  );
  for (let round = 0; round < rounds; round++) {
    const drawn = all.map((_, i) => draw(principles, uniform(seed + (place + i) * rounds + round)()));
    const asked = all.map(({ prompt, response, rounds }, i): Message[] => [
      ...prompt,
      { role: "assistant", content: rounds.at(-1)?.revision ?? response },
      { role: "user", content: drawn[i]?.critique as string },
    ]);
    onPhase(`round ${round + 1} of ${rounds}: ${critic.name} criticises`);
    const critiques = await critic.write(asked, at(2 * round + 1));
    onPhase(`round ${round + 1} of ${rounds}: ${critic.name} revises`);
    const revisions = await critic.write(
      asked.map((conversation, i): Message[] => [
        ...conversation,
        { role: "assistant", content: critiques[i] as string },
        { role: "user", content: drawn[i]?.revision as string },
      ]),
      at(2 * round + 2),
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

/** What is learned from a revised response: its last revision that says anything. */
export const lastOf = ({ response, rounds }: Revised): string =>
  rounds.findLast(({ revision }) => revision !== "")?.revision ?? response;
