/** Shape of the learning rate over the steps. */
export type Schedule = "constant" | "linear" | "cosine";

/**
 * Computes the factor of the learning rate at a step, as transformers' schedules do. It rises linearly over `warmup`
 * steps, then stays at 1, or falls to 0 linearly or along half a cosine.
 * @param step from 0 @param total number of steps
 */
export function scheduleFactor(schedule: Schedule, step: number, total: number, warmup = 0): number {
  if (step < warmup) return step / Math.max(1, warmup);
  const progress = Math.min(1, (step - warmup) / Math.max(1, total - warmup));
  if (schedule === "linear") return 1 - progress;
  if (schedule === "cosine") return 0.5 * (1 + Math.cos(Math.PI * progress));
  return 1;
}
