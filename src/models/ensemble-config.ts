import { z } from "zod";

// Apart from the ensemble, so that settings describe themselves without loading the engine.

export const combine = z
  .enum(["mean", "worst", "penalised"])
  .describe(
    "How the scores of an ensemble's members become one: their mean, the least (worst), or the mean less penalty times their variance (penalised)",
  );
export const penalty = z
  .number()
  .min(0)
  .describe(
    "Weight of the variance (λ) with combine: penalised; Coste et al. 2023 take 0.5 for the best of n and 0.1 for PPO",
  );
