import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { DivergedError } from "../data/errors.ts";
import type { Columns } from "../data/tables.ts";
import type { Model } from "../models/model.ts";
import { loadModel } from "../models/pull.ts";
import { AdamW, type AdamWOptions } from "../nn/adamw.ts";
import type { LoraConfig } from "../nn/lora-config.ts";
import type { Bits } from "../nn/quantise.ts";
import type { Event, Metrics } from "../run/events.ts";
import { Journal, type JournalOptions, readState } from "../run/journal.ts";
import { plainTemplate, type Warning } from "../run/warnings.ts";
import { type DType, Rng, trim } from "../tensor/index.ts";
import {
  loadOptimizer,
  openLearner,
  quantisedBase,
  saveOptimizers,
  saveState,
  versions,
} from "./checkpoint.ts";
import type { Evaluation, Loop, StepResult } from "./loop.ts";

interface Disposable {
  dispose(): void;
}

/** Options that every stage has beside its settings. */
export interface StageOptions {
  /** Precision to compute in. Default: bfloat16 where the processor is fast at it, else float32. */
  dtype?: DType | undefined;
  /** Columns of the file of data or prompts, by our names for them: `{prompt: "question"}`. */
  columns?: Columns | undefined;
  /** Run directory for events and checkpoints. Without it nothing is written. */
  run?: string | undefined;
  /** Continues from the run's last checkpoint. */
  resume?: boolean | undefined;
  /** Settings and inputs of the command, for run.json, so that `--resume` needs no others. */
  command?: Record<string, unknown> | undefined;
  /** Aborting it ends the training with `Interrupted`, after the last whole step was saved. */
  signal?: AbortSignal | undefined;
}

/** Splits what a stage is called with into the options of the frame and the stage's settings. */
export const splitOptions = <T extends StageOptions>({
  dtype,
  columns,
  run,
  resume,
  command,
  signal,
  ...settings
}: T) => ({
  options: { dtype, columns, run, resume, command, signal },
  settings,
});

/** The settings that the frame itself reads. */
interface StageConfig {
  seed: number;
  lora?: LoraConfig | undefined;
  quantise?: Bits | undefined;
  gradientCheckpointing: boolean;
  keepCheckpoints: number;
}

/** State that every checkpoint holds, in state.json; a stage adds fields of its own. */
export interface StageState {
  /** Steps taken. */
  step: number;
  /** Metrics of the last step. */
  metrics: Metrics;
  /** State of the random generator, base64. */
  generator?: string;
  /** The last step is taken and the work that follows the steps is not done. */
  pending?: boolean;
  /** The monitor ended the run before its last step. */
  stopped?: boolean;
}

const loadBase = (from: Model | string, { dtype }: StageOptions): Promise<Model> =>
  loadModel(from, dtype ? { dtype } : {});

/**
 * The frame that all training stages share: the base model, the learner and its optimisers, the run directory with its
 * checkpoints, the order of a step's events, interrupts. What was opened through it is disposed when the stage ends,
 * whether by its end, an error, an interrupt, or a consumer that stops iterating.
 *
 * A stage calls, in this order: `open`, `use` for what else it loads, `openRun` once nothing can refuse the input any
 * more, `learner`, `optimizer`, `start`, `steps`, `finish`; and `dispose` in a `finally`.
 */
export class Stage<State extends StageState = StageState> {
  readonly name: string;
  readonly signal: AbortSignal | undefined;
  /** The frozen model that the stage begins from, rounded where `quantise` says so. */
  readonly base: Model;
  state: State;
  readonly #options: StageOptions;
  readonly #config: StageConfig;
  readonly #from: Model | string;
  #journal: Journal | undefined;
  #rng: Rng | undefined;
  #total = 0;
  readonly #resources = new Set<Disposable>();
  readonly #optimizers: Record<string, AdamW> = {};
  readonly #writers: ((dir: string) => void)[] = [];
  readonly #warned = new Set<string>();

  private constructor(
    name: string,
    from: Model | string,
    base: Model,
    options: StageOptions,
    config: StageConfig,
    state: State,
  ) {
    this.name = name;
    this.signal = options.signal;
    this.base = base;
    this.state = state;
    this.#from = from;
    this.#options = options;
    this.#config = config;
  }

  /**
   * Opens the base model.
   * @param from a model, which stays the caller's, or a name or path for `loadModel`
   * @param state the state that a run begins with
   */
  static async open<State extends StageState>(
    name: string,
    from: Model | string,
    options: StageOptions,
    config: StageConfig,
    state: State,
  ): Promise<Stage<State>> {
    const loaded = await loadBase(from, options);
    try {
      const base = quantisedBase(loaded, from, config.quantise, config.lora);
      const stage = new Stage(name, from, base, options, config, state);
      if (base !== from) stage.use(base);
      return stage;
    } catch (error) {
      if (loaded !== from) loaded.dispose();
      throw error;
    }
  }

  /** Columns of the file of data or prompts, by our names for them. */
  get columns(): Columns | undefined {
    return this.#options.columns;
  }

  /** Disposes `resource` when the stage ends. */
  use<T extends Disposable>(resource: T): T {
    this.#resources.add(resource);
    return resource;
  }

  /** Disposes `resource` now, if it is the stage's. */
  release(resource: Disposable): void {
    if (this.#resources.delete(resource)) resource.dispose();
  }

  /** The base model once more, loaded again where it was released. */
  async reopenBase(): Promise<Model> {
    if (this.base === this.#from || this.#resources.has(this.base)) return this.base;
    return this.use(await loadBase(this.#from, this.#options));
  }

  /**
   * Opens the run directory, or its last checkpoint. Everything that may refuse the input comes before this.
   * @param inputs.total steps of the run
   * @param inputs.data files or records by the option's name, which a resumed run must be given unchanged
   * @param inputs.config further entries of the run's config
   * @param inputs.parents models that the run begins from; those without a name are left out
   */
  openRun(inputs: {
    total: number;
    data: JournalOptions["data"];
    config?: Record<string, unknown>;
    parents: readonly unknown[];
  }): void {
    const { run, resume, command } = this.#options;
    this.#total = inputs.total;
    this.#journal = new Journal({
      run,
      resume,
      command,
      stage: this.name,
      config: { ...this.#config, ...inputs.config },
      data: inputs.data,
      versions: versions(),
      parents: inputs.parents.filter((parent) => typeof parent === "string"),
    });
    if (this.checkpoint) this.state = { ...this.state, ...readState<State>(this.checkpoint) };
  }

  get journal(): Journal {
    if (!this.#journal) throw new Error("openRun comes first");
    return this.#journal;
  }

  /** Folder of the checkpoint that the run is resumed from. */
  get checkpoint(): string | undefined {
    return this.journal.from?.dir;
  }

  get writesRun(): boolean {
    return this.#options.run !== undefined;
  }

  /** Whether all steps are taken, or the monitor stopped the run. */
  get ended(): boolean {
    return this.state.stopped === true || this.state.step >= this.#total;
  }

  /** The stage's random generator. Its state is saved with each checkpoint, and rewound when a step is given up. */
  rng(): Rng {
    if (!this.#rng) {
      this.#rng = this.use(new Rng(this.#config.seed));
      if (this.state.generator) this.#rewind();
      else this.#recordRng();
    }
    return this.#rng;
  }

  #recordRng(): void {
    if (this.#rng) this.state = { ...this.state, generator: Buffer.from(this.#rng.state).toString("base64") };
  }

  #rewind(): void {
    if (this.#rng && this.state.generator) this.#rng.state = Buffer.from(this.state.generator, "base64");
  }

  /**
   * The model in training: a fresh one, or the checkpoint's.
   * @param fresh makes it from the base; with `share` on the base's weights, for adapters
   * @param options.keepBase whether the base is needed beside it
   * @param options.folder where a checkpoint has it. Default: the checkpoint's own folder
   * @param options.seed of its adapters. Default: the config's
   */
  learner(
    fresh: (share: boolean) => Model,
    { keepBase = false, folder = ".", seed = this.#config.seed } = {},
  ): Model {
    const { lora, gradientCheckpointing } = this.#config;
    const { dtype } = this.base;
    const from = this.checkpoint && join(this.checkpoint, folder);
    const model = this.use(openLearner({ fresh, from, dtype, lora, seed }));
    if (model.head === "lm") model.stage = this.name;
    model.gradientCheckpointing = gradientCheckpointing;
    if (!lora && !keepBase) this.release(this.base);
    this.onSave((dir) => model.save(join(dir, folder)));
    return model;
  }

  /** The optimiser of a model in training, with the checkpoint's moments. */
  optimizer(name: string, model: Model, options: AdamWOptions = {}): AdamW {
    const optimizer = this.use(new AdamW(model.train().learned, options));
    if (this.checkpoint && !this.ended) loadOptimizer(this.checkpoint, name, optimizer);
    this.#optimizers[name] = optimizer;
    return optimizer;
  }

  /** Adds to what a checkpoint holds. */
  onSave(write: (dir: string) => void): void {
    this.#writers.push(write);
  }

  #write = (dir: string): void => {
    for (const write of this.#writers) write(dir);
    if (!this.ended) saveOptimizers(dir, this.#optimizers);
    saveState(dir, this.state);
  };

  #save({ best = false, replace = false } = {}): Generator<Event> {
    const options = { keep: this.#config.keepCheckpoints, best, replace };
    return this.journal.save(this.state.step, this.#write, options);
  }

  /** Saves the last whole step where the run has not, and throws `Interrupted`. */
  *#interrupt(): Generator<Event, never> {
    const { step } = this.state;
    if (this.#writers.length && this.journal.from?.step !== step) yield* this.#save();
    return yield* this.journal.interrupt(step);
  }

  *start(warnings: readonly Warning[] = []): Generator<Event> {
    if (this.checkpoint) yield this.journal.log({ type: "resumed", step: this.state.step });
    yield this.journal.log({ type: "start", stage: this.name, total: this.#total });
    yield* this.journal.warn([...plainTemplate(this.base.tokenizer?.hasChatTemplate === false), ...warnings]);
  }

  /** Work outside the steps. An abort within it interrupts the stage. */
  async *phase<T>(what: string, work: () => T | Promise<T>): AsyncGenerator<Event, T> {
    yield this.journal.log({ type: "phase", what });
    try {
      this.signal?.throwIfAborted();
      return await work();
    } catch (error) {
      if (!this.signal?.aborted) throw error;
    }
    return yield* this.#interrupt();
  }

  /** Takes steps until all are taken. An abort within a step gives that step up: the run is saved as it was before it. */
  async *steps({ saveEvery, step, evaluations = [], ending }: Loop<State>): AsyncGenerator<Event> {
    const measurements = evaluations.filter((evaluation) => evaluation !== undefined);
    for (const each of measurements) if (each.isFirstDue?.()) yield* this.#evaluateFirst(each);
    while (!this.ended) {
      if (this.signal?.aborted) yield* this.#interrupt();
      const result = await this.#attempt(step);
      if (!result) continue;
      const { metrics, samples = [], warnings = [] } = result;
      this.state = { ...this.state, ...result.state, step: this.state.step + 1, metrics };
      this.#recordRng();
      for (const event of samples) yield event;
      yield this.journal.step(this.state.step, this.#total, metrics);
      yield* this.#warnOnce(warnings);
      const { step: taken } = this.state;
      let isBest = false;
      for (const each of measurements)
        if (this.ended || taken % each.every === 0) isBest = (yield* this.#evaluate(each)) || isBest;
      if (this.ended && ending) this.state = { ...this.state, pending: true };
      else if (isBest || this.ended || taken % saveEvery === 0) yield* this.#save({ best: isBest });
      await setImmediate(); // lets a signal in
    }
    for (const { restoreBest } of measurements) if (restoreBest) yield* this.#endWithBest(restoreBest);
    if (!ending || !this.state.pending) return;
    yield* ending();
    const { pending: _, ...done } = this.state;
    this.state = done as State;
    yield* this.#save({ replace: true }); // an interrupt may have saved the step without it
  }

  /** The step's result; undefined when it was aborted. A loss that diverges has moved weights: no abort hides it. */
  async #attempt(step: Loop<State>["step"]): Promise<StepResult<State> | undefined> {
    try {
      return await step();
    } catch (error) {
      if (!this.signal?.aborted || error instanceof DivergedError) throw error;
      this.#rewind();
      return undefined;
    }
  }

  /** Measures the model before the first step, and saves it where the run may end with it. */
  async *#evaluateFirst(evaluate: Evaluation): AsyncGenerator<Event> {
    const isBest = yield* this.#evaluate(evaluate);
    if (evaluate.restoreBest) yield* this.#save({ best: isBest });
  }

  async *#evaluate({ what, measure }: Evaluation): AsyncGenerator<Event, boolean> {
    yield this.journal.log({ type: "phase", what });
    const { metrics, best = false, warnings = [], stop = false } = await measure();
    const stopped = stop ? { stopped: true } : {};
    this.state = { ...this.state, ...stopped, metrics: { ...this.state.metrics, ...metrics } };
    yield this.journal.log({ type: "eval", step: this.state.step, metrics });
    yield* this.#warnOnce(warnings);
    return best;
  }

  /** Ends the run with the weights of its best checkpoint. */
  *#endWithBest(restore: (checkpoint: string) => void): Generator<Event> {
    const { best } = this.journal;
    if (!best || best.step === this.state.step) return;
    restore(best.dir);
    yield* this.#save({ replace: true });
  }

  /** Logs warnings that were not logged before: a guard rail speaks once, not at every step. */
  *#warnOnce(warnings: readonly Warning[]): Generator<Event> {
    yield* this.journal.warn(
      warnings.filter(({ code }) => !this.#warned.has(code) && this.#warned.add(code)),
    );
  }

  /**
   * The trained model or ensemble, from now on the caller's.
   * @param owners what the stage would have disposed it by
   */
  *finish<T extends Disposable & { finishTraining(): unknown }>(
    trained: T,
    owners: readonly Disposable[] = [trained],
  ): Generator<Event, T> {
    for (const optimizer of Object.values(this.#optimizers)) this.release(optimizer);
    trained.finishTraining();
    yield this.journal.log({ type: "done", step: this.state.step, metrics: this.state.metrics });
    for (const owner of owners) this.#resources.delete(owner);
    return trained;
  }

  dispose(): void {
    for (const resource of [...this.#resources].reverse()) this.release(resource);
    this.#journal?.close();
    trim();
  }
}
