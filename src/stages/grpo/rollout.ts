import type { Prompt } from "../../data/records.ts";
import { drawAt } from "../../data/split.ts";
import type { Scorer } from "../../rewards/scorer.ts";
import { type ScoredCompletion, sampleAndScore } from "../../rollout/sample-and-score.ts";
import type { Sampler } from "../../rollout/sampler.ts";
import { samplingOptions } from "../settings.ts";
import { haveSpread } from "./advantages.ts";
import type { GrpoConfig } from "./config.ts";

/** How often a step may draw more prompts in place of those whose completions all scored the same. */
const resamples = 3;

/** What a step sampled. */
interface Rollout {
  /** Their `promptIndex` counts the prompts drawn over the run. */
  samples: ScoredCompletion[];
  /** Prompts drawn by now. */
  drawn: number;
  /** Completions sampled, those left out too. */
  sampled: number;
  /** Share of prompts whose completions all scored the same. */
  flat: number;
}

/** Samples completions and scores them. @param from prompts drawn before */
export async function rollOut(
  sampler: Sampler,
  scorer: Scorer,
  prompts: readonly Prompt[],
  from: number,
  config: GrpoConfig,
  signal: AbortSignal | undefined,
): Promise<Rollout> {
  const { samplesPerPrompt, batchSize, dynamicSampling } = config;
  const wanted = Math.max(1, Math.round(batchSize / samplesPerPrompt));
  const options = { ...samplingOptions(config), samples: samplesPerPrompt, signal };
  const samples: ScoredCompletion[] = [];
  let [drawn, flat] = [from, 0];
  for (let round = 0; round <= resamples && samples.length < wanted * samplesPerPrompt; round++) {
    const count = wanted - samples.length / samplesPerPrompt;
    const batch = drawAt(prompts, drawn, count, config.seed);
    const scored = await sampleAndScore(sampler, scorer, batch, options);
    const telling = haveSpread(scored);
    // The last round takes what it gets.
    const takesAll = !dynamicSampling || round === resamples;
    for (const sample of scored)
      if (takesAll || telling.has(sample.promptIndex))
        samples.push({ ...sample, promptIndex: drawn + sample.promptIndex });
    flat += batch.length - telling.size;
    drawn += batch.length;
  }
  return { samples, drawn, sampled: (drawn - from) * samplesPerPrompt, flat: flat / (drawn - from) };
}
