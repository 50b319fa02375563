import type { Row } from "../../batch/pack.ts";
import { cat, keep, noGrad, scope, type Tensor, tensor } from "../../tensor/index.ts";

/**
 * The hidden states that responses were drawn from. Where sampling and training compute the same bits they are what the
 * policy's pass over the responses would give, and save it.
 */
export class SampledStates {
  #steps: Tensor[] = [];
  #count = 0;
  /** Where each response's states are among the steps' rows, by its tokens. */
  #places = new Map<readonly number[], number[]>();
  #byContent = new Map<string, number[]>();

  /** Takes the states (rows, hidden) that these rows' next tokens are drawn from. */
  record(hidden: Tensor, rows: readonly { tokens: readonly number[] }[]): void {
    this.#steps.push(keep(hidden));
    for (const { tokens } of rows) {
      const places = this.#places.get(tokens) ?? [];
      this.#places.set(tokens, places);
      places.push(this.#count++);
    }
  }

  /** Tells what the recorded rows answered. */
  answered(rows: readonly Row[]): void {
    for (const row of rows) {
      const places = this.#places.get(row.tokens);
      if (places) this.#byContent.set(contentOf(row), places);
    }
    this.#places.clear();
    const whole = noGrad(() => scope(() => keep(cat(this.#steps))));
    for (const step of this.#steps) step.dispose();
    this.#steps = [whole];
  }

  /** The states before each token of these rows' responses, (response tokens, hidden), if all were recorded. */
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
