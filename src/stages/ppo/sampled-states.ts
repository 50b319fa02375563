import type { Row } from "../../batch/pack.ts";
import { cat, keep, noGrad, scope, type Tensor, tensor } from "../../tensor/index.ts";

/**
 * Stores the hidden states that a rollout's tokens were sampled from. Where sampling and training compute the same bits,
 * they equal those of the policy's pass over the completions, which they make needless.
 */
export class SampledStates {
  #steps: Tensor[] = [];
  #count = 0;
  /** Row numbers of each completion's states among all recorded states, by its token list. */
  #places = new Map<readonly number[], number[]>();
  #byContent = new Map<string, number[]>();

  /** Records the states (rows, hidden) that the rows' next tokens are sampled from. */
  record(hidden: Tensor, rows: readonly { tokens: readonly number[] }[]): void {
    this.#steps.push(keep(hidden));
    for (const { tokens } of rows) {
      const places = this.#places.get(tokens) ?? [];
      this.#places.set(tokens, places);
      places.push(this.#count++);
    }
  }

  /** Ends the rollout: states are looked up by the content of these completions from now on. */
  finish(rows: readonly Row[]): void {
    for (const row of rows) {
      const places = this.#places.get(row.tokens);
      if (places) this.#byContent.set(contentOf(row), places);
    }
    this.#places.clear();
    const whole = noGrad(() => scope(() => keep(cat(this.#steps))));
    for (const step of this.#steps) step.dispose();
    this.#steps = [whole];
  }

  /** Returns the states before each token of the completions, (response tokens, hidden), if all were recorded. */
  of(rows: readonly Row[]): Tensor | undefined {
    const places = rows.flatMap((row) => this.#byContent.get(contentOf(row)) ?? [-1]);
    return places.includes(-1)
      ? undefined
      : this.#steps[0]?.indexSelect(0, tensor(places, { dtype: "int64" }));
  }

  dispose(): void {
    for (const step of this.#steps.splice(0)) step.dispose();
    this.#byContent.clear();
  }
}

const contentOf = ({ promptTokens: prompt, tokens: response }: Row): string =>
  `${prompt.join()}|${response.join()}`;
