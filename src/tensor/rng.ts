import { checked } from "./error.ts";
import { native } from "./native.ts";

/** A random number generator whose state can be saved. The same seed gives the same numbers. */
export class Rng {
  /** @internal */
  readonly id: number;
  constructor(seed: number, device = "cpu") {
    this.id = checked(() => native().generator(seed, device));
  }
  /** State of the generator, for a checkpoint. */
  get state(): Uint8Array {
    return checked(() => native().generatorState(this.id));
  }
  set state(bytes: Uint8Array) {
    checked(() => native().generatorState(this.id, bytes));
  }
  /** Frees the generator. Using it afterwards is an error. */
  dispose(): void {
    native().freeGenerator(this.id);
  }
}
