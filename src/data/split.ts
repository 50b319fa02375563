import { createHash } from "node:crypto";
import { groupBy } from "../statistics/groups.ts";
import { uniform } from "../statistics/random.ts";
import type { Message } from "./records.ts";

/**
 * Splits records into two, held out about `fraction` (0 to 1) of the distinct prompts. All records of a prompt fall on
 * one side, the same for the same seed. A fraction above 0 holds out at least one prompt of two or more, and never all.
 */
export function splitByPrompt<T extends { prompt: Message[] }>(
  records: readonly T[],
  fraction: number,
  seed: number,
): { train: T[]; heldOut: T[] } {
  if (!(fraction >= 0 && fraction < 1)) {
    throw new RangeError(`the held-out fraction is ${fraction}; it should be 0 or more and below 1`);
  }
  const hash = (record: T) =>
    createHash("sha256")
      .update(JSON.stringify([seed, record.prompt]))
      .digest("hex");
  const hashes = records.map(hash);
  // The lowest hashes, not those under a threshold: a small set then gets the share that was asked for.
  const distinct = [...new Set(hashes)].sort();
  const wanted = fraction === 0 ? 0 : Math.max(1, Math.round(fraction * distinct.length));
  const chosen = new Set(distinct.slice(0, Math.min(wanted, distinct.length - 1)));
  return {
    train: records.filter((_, i) => !chosen.has(hashes[i] as string)),
    heldOut: records.filter((_, i) => chosen.has(hashes[i] as string)),
  };
}

/** The numbers 0 to n − 1 in an order that `seed` alone decides (Fisher–Yates): the order of an epoch. */
export function shuffled(n: number, seed: number): number[] {
  const order = Array.from({ length: n }, (_, i) => i);
  const random = uniform(seed);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  return order;
}

/** What a step learns from: `batchSize` of all, in an order that each epoch of `perEpoch` steps has for itself. */
export function batchAt<T>(
  all: readonly T[],
  step: number,
  perEpoch: number,
  { batchSize, seed }: { batchSize: number; seed: number },
): T[] {
  const start = (step % perEpoch) * batchSize;
  const order = shuffled(all.length, seed + Math.floor(step / perEpoch));
  return order.slice(start, start + batchSize).map((i) => all[i] as T);
}

/** `count` of all after the `drawn` before them: each epoch has an order of its own, and they may reach into the next. */
export function drawAt<T>(all: readonly T[], drawn: number, count: number, seed: number): T[] {
  const orders = new Map<number, number[]>();
  return Array.from({ length: count }, (_, i) => {
    const epoch = Math.floor((drawn + i) / all.length);
    const order = orders.get(epoch) ?? shuffled(all.length, seed + epoch);
    orders.set(epoch, order);
    return all[order[(drawn + i) % all.length] as number] as T;
  });
}

/** Rows in random order, but those of one group side by side: responses to one prompt share its computation. */
export function shuffledByGroup(groups: readonly unknown[], seed: number): number[] {
  const rows = groups.map((_, i) => i);
  const list = [...groupBy(rows, (row) => groups[row]).values()];
  return shuffled(list.length, seed).flatMap((i) => list[i] as number[]);
}
