export type Schedule = "constant" | "linear" | "cosine";

/**
 * Factor of the learning rate at `step` (from 0) of `total`: rises over `warmup` steps, then stays, or falls to 0 by
 * a line or half a cosine, as transformers' schedules do.
 */
export function scheduleFactor(schedule: Schedule, step: number, total: number, warmup = 0): number {
  if (step < warmup) return step / Math.max(1, warmup);
  const progress = Math.min(1, (step - warmup) / Math.max(1, total - warmup));
  if (schedule === "linear") return 1 - progress;
  if (schedule === "cosine") return 0.5 * (1 + Math.cos(Math.PI * progress));
  return 1;
}
