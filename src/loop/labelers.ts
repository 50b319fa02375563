import { readConstitution } from "../constitution/constitution.ts";
import { openFeedback } from "../constitution/open-feedback.ts";
import { prefer, toComparison } from "../constitution/prefer.ts";
import type { Comparison, Prompt } from "../data/records.ts";
import { openReward, type RewardInput } from "../rewards/open.ts";
import type { Answer, Score } from "../rewards/scorer.ts";
import { ranksWithTies } from "../statistics/numbers.ts";
import { normal, uniform } from "../statistics/random.ts";
import type { AiConfig, LoopConfig, SimulatedConfig } from "./config.ts";

// Labelers that answer at once: simulated ones and a model. People are in people.ts.

/** A prompt with the answers to compare: texts that differ. */
export interface AnswersToPrompt extends Prompt {
  completions: string[];
}

export type LabelerKind = keyof LoopConfig["labelers"];

/** Divides prompts among the kinds of labelers by their shares: in turn, so that each prefix is divided in proportion. */
export function divide<T>(items: readonly T[], labelers: LoopConfig["labelers"]): Map<LabelerKind, T[]> {
  const parts = new Map<LabelerKind, T[]>();
  const shares = new Map<LabelerKind, number>();
  for (const kind of Object.keys(labelers) as LabelerKind[]) {
    const share = labelers[kind]?.share;
    if (share !== undefined) {
      parts.set(kind, []);
      shares.set(kind, share);
    }
  }
  for (const item of items) {
    // Sainte-Laguë's method: the kind with the largest quotient of its share and its items.
    const [kind] = [...shares].reduce((best, other) => (quotient(other) > quotient(best) ? other : best));
    parts.get(kind)?.push(item);
  }
  return parts;

  function quotient([kind, share]: [LabelerKind, number]): number {
    return share / ((parts.get(kind)?.length ?? 0) + 0.5);
  }
}

/**
 * Lets a simulated labeler rank answers by a reward, which it sees with normal noise.
 * @param seed of the noise
 */
export async function simulate(
  rows: readonly AnswersToPrompt[],
  { reward, noise, tieMargin }: Omit<SimulatedConfig, "share">,
  seed: number,
  signal?: AbortSignal,
): Promise<Comparison[]> {
  const scorer = await openReward(reward as RewardInput);
  try {
    const answers = rows.flatMap(({ completions, ...prompt }): Answer[] =>
      completions.map((text) => ({ ...prompt, text })),
    );
    const scores = await scorer.score(answers, signal);
    const random = uniform(seed);
    const seen = scores.map(({ score }: Score) => score + (noise && noise * normal(random)));
    let first = 0;
    return rows.map(({ prompt, completions }) => {
      const scores = seen.slice(first, first + completions.length);
      first += completions.length;
      return { prompt, completions, ranks: ranksWithTies(scores, tieMargin), labeler: "simulated" };
    });
  } finally {
    scorer.dispose();
  }
}

/** Lets a model compare all pairs of answers by the principles of a constitution: soft labels, both orders averaged. */
export async function judgeByModel(
  rows: readonly AnswersToPrompt[],
  { model, constitution: path, endpoint }: Pick<AiConfig, "model" | "constitution" | "endpoint">,
  {
    seed,
    signal,
    onPhase,
  }: { seed: number; signal?: AbortSignal | undefined; onPhase: (what: string) => void },
): Promise<Comparison[]> {
  const constitution = readConstitution(path);
  const [feedback, dispose] = await openFeedback(model, endpoint, {});
  try {
    const pairs = rows.flatMap(({ prompt, completions }) =>
      completions.flatMap((first, i) =>
        completions.slice(i + 1).map((second) => ({ prompt, answers: [first, second] as [string, string] })),
      ),
    );
    const judged = await prefer(pairs, {
      ...{ constitution, feedback, think: false, maxTokens: 1, temperature: 0, seed, signal, onPhase },
    });
    const labeler = `${feedback.name} by ${constitution.name} ${constitution.hash}`;
    return judged.map((pair) => toComparison({ ...pair, labeler }));
  } finally {
    dispose();
  }
}
