import { z } from "zod";
import type { Ensemble } from "../models/ensemble.ts";
import type { Model } from "../models/model.ts";
import { parseConfig } from "../run/config.ts";
import type { Metrics } from "../run/events.ts";
import type { Plot } from "../run/report/run.ts";
import type { Training } from "../run/training.ts";
import type { StageOptions } from "./stage.ts";

type Trained = Training<{ model: Model | Ensemble; metrics: Metrics }>;

/** What a stage says of itself, without loading the engine. */
interface About<C extends z.ZodRawShape, I extends z.ZodRawShape> {
  /** Its command, and its name in run.json. */
  name: string;
  description: string;
  learnsFrom: "demonstrations" | "comparisons" | "reward";
  makes: "policy" | "reward model";
  /** Its settings; each describes itself. */
  config: z.ZodObject<C>;
  /** Models and data that it reads, each an option of the command and a key of the recipe. */
  inputs: I;
  /** Whether its `data` can also come from a label store. */
  takesLabels?: boolean;
  /** Metrics on the progress line, with their labels. */
  progress: readonly (readonly [metric: string, label: string])[];
  plots: readonly Plot[];
  /** What to do with the run: a command. */
  next: (run: string) => string;
  /** Loads the engine and begins the training. */
  train: (options: z.output<z.ZodObject<C>> & z.output<z.ZodObject<I>> & StageOptions) => Promise<Trained>;
}

/** A stage as command line, reports and pages know it. */
export interface StageEntry extends Omit<About<z.ZodRawShape, z.ZodRawShape>, "train"> {
  /** Settings and inputs together. */
  schema: z.ZodObject;
  /**
   * Begins the training.
   * @param settings settings and inputs, as `schema` has them
   * @throws InputError when they are not as the schema says
   */
  start(settings: unknown, options: StageOptions): Promise<Trained>;
}

/** An entry of the registry. */
export function defineStage<C extends z.ZodRawShape, I extends z.ZodRawShape>({
  train,
  ...about
}: About<C, I>): StageEntry {
  const inputs = z.object(about.inputs);
  const schema = z.object({ ...about.config.shape, ...about.inputs });
  return {
    ...about,
    schema,
    start(settings, options) {
      parseConfig(schema, settings, about.name); // every mistake at once
      return train({ ...about.config.parse(settings), ...inputs.parse(settings), ...options });
    },
  };
}
