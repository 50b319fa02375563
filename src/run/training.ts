import type { Event } from "./events.ts";

/** A training under way: iterate over its events, or wait for what it makes. It runs only while it is asked to. */
export interface Training<Result> extends AsyncIterable<Event> {
  /** Runs to the end. Events that nobody iterated over are passed by. */
  done(): Promise<Result>;
}

/** The training stopped because its signal did; what it had was saved where it has a run directory. */
export class Interrupted extends Error {
  override name = "Interrupted";
}

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
