import { createHash } from "node:crypto";
import { groupBy } from "../statistics/groups.ts";
import { uniform } from "../statistics/random.ts";
import type { Message } from "./records.ts";

/**
 * Splits records by prompt into a training and a held-out set. All records of a prompt fall in the same set, as do a
 * conversation and its continuation: prompts are told apart by their turns up to the first one of the user. The split
 * depends only on the seed. A fraction above 0 holds out at least one prompt (if there are two) and never all.
 * @param fraction share of distinct prompts to hold out, 0 to 1
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
      .update(JSON.stringify([seed, beginning(record.prompt)]))
      .digest("hex");
  const hashes = records.map(hash);
  // Takes the lowest hashes, not those below a threshold, so that small sets also get the requested share.
  const distinct = [...new Set(hashes)].sort();
  const count = fraction === 0 ? 0 : Math.max(1, Math.round(fraction * distinct.length));
  const heldOut = new Set(distinct.slice(0, Math.min(count, distinct.length - 1)));
  return {
    train: records.filter((_, i) => !heldOut.has(hashes[i] as string)),
    heldOut: records.filter((_, i) => heldOut.has(hashes[i] as string)),
  };
}

/** The turns up to the first one of the user, with their keys in one order. */
function beginning(prompt: readonly Message[]): Pick<Message, "role" | "content">[] {
  const first = prompt.findIndex(({ role }) => role === "user");
  return prompt
    .slice(0, first < 0 ? prompt.length : first + 1)
    .map(({ role, content }) => ({ role, content }));
}

/** Returns a permutation of 0 to n − 1 that depends only on `seed` (Fisher–Yates). */
export function shuffled(n: number, seed: number): number[] {
  const order = Array.from({ length: n }, (_, i) => i);
  const random = uniform(seed);
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  return order;
}

/**
 * Returns the batch of a training step. Each epoch has its own shuffled order.
 * @param perEpoch steps in an epoch
 */
export function batchAt<T>(
  items: readonly T[],
  step: number,
  perEpoch: number,
  { batchSize, seed }: { batchSize: number; seed: number },
): T[] {
  const start = (step % perEpoch) * batchSize;
  const order = shuffled(items.length, seed + Math.floor(step / perEpoch));
  return order.slice(start, start + batchSize).map((i) => items[i] as T);
}

/**
 * Draws the next `count` items from an endless stream of shuffled epochs.
 * @param drawn how many items were drawn before
 */
export function drawAt<T>(items: readonly T[], drawn: number, count: number, seed: number): T[] {
  const orders = new Map<number, number[]>();
  return Array.from({ length: count }, (_, i) => {
    const epoch = Math.floor((drawn + i) / items.length);
    const order = orders.get(epoch) ?? shuffled(items.length, seed + epoch);
    orders.set(epoch, order);
    return items[order[(drawn + i) % items.length] as number] as T;
  });
}

/** Returns row indices in random order of groups, with each group's rows adjacent, so that they share their prompt's computation. */
export function shuffledByGroup(groups: readonly unknown[], seed: number): number[] {
  const rows = groups.map((_, i) => i);
  const rowsByGroup = [...groupBy(rows, (row) => groups[row]).values()];
  return shuffled(rowsByGroup.length, seed).flatMap((i) => rowsByGroup[i] as number[]);
}
