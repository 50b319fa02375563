import type { Event } from "./events.ts";

/** A training in progress. Iterate over its events, or await its result with `done`. It runs only while one of these is awaited. */
export interface Training<Result> extends AsyncIterable<Event> {
  /** Runs the training to its end and discards the remaining events. @returns its result @throws Interrupted */
  done(): Promise<Result>;
}

/** The training stopped because its signal was aborted. If it has a run directory, its state was saved there. */
export class Interrupted extends Error {
  override name = "Interrupted";
}

/** Makes a `Training` of a trainer's generator. */
export function training<Result>(body: AsyncGenerator<Event, Result>): Training<Result> {
  let ended: { value: Result } | { error: unknown } | undefined;
  async function* events(): AsyncGenerator<Event> {
    try {
      ended = { value: yield* body };
    } catch (error) {
      ended = { error };
      throw error;
    }
  }
  const iterator = events();
  return {
    [Symbol.asyncIterator]: () => iterator,
    async done() {
      if (!ended) for await (const _ of iterator);
      if (!ended) throw new Error("the training was abandoned: its events were not iterated to the end");
      if ("error" in ended) throw ended.error;
      return ended.value;
    },
  };
}
