import type { StageEntry } from "./about.ts";
import { about as dpo } from "./dpo/about.ts";
import { about as grpo } from "./grpo/about.ts";
import { about as onlineDpo } from "./online-dpo/about.ts";
import { about as ppo } from "./ppo/about.ts";
import { about as rejection } from "./rejection/about.ts";
import { about as reward } from "./reward/about.ts";
import { about as sft } from "./sft/about.ts";

/** All training stages, in the order in which help lists them. Nothing here loads the engine. */
export const stages: readonly StageEntry[] = [sft, reward, ppo, grpo, dpo, onlineDpo, rejection];

/** The stage of a run; undefined for a name that this version does not know. */
export const stageNamed = (name: string): StageEntry | undefined =>
  stages.find((stage) => stage.name === name);

/** The plots of a stage's runs; none for a name that this version does not know. */
export const plotsOf = (name: string): StageEntry["plots"] => stageNamed(name)?.plots ?? [];
