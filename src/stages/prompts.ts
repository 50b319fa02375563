import { InputError } from "../data/errors.ts";
import { readPrompts } from "../data/readers.ts";
import type { Prompt } from "../data/records.ts";
import type { Model } from "../models/model.ts";
import { openReward, type RewardInput } from "../rewards/open.ts";
import type { Scorer } from "../rewards/scorer.ts";
import type { Warning } from "../run/warnings.ts";
import { encodePrompt } from "../text/chat.ts";
import type { Stage } from "./stage.ts";

/** What the stages that sample learn from. */
interface SamplingInputs {
  scorer: Scorer;
  prompts: Prompt[];
  /** Says how many prompts were dropped, if any. */
  warnings: Warning[];
}

/**
 * Opens the reward and the prompts of a stage that samples, whose policy is `stage.base`.
 * @throws InputError for a policy without SFT, a reward that cannot be opened, or prompts that leave no room
 */
export async function openSamplingInputs(
  stage: Stage,
  reward: RewardInput,
  source: string | readonly Prompt[],
  { allowNoSft, maxTokens }: { allowNoSft: boolean; maxTokens: number },
): Promise<SamplingInputs> {
  const { base, name } = stage;
  if (!allowNoSft) refuseWithoutSft(base, name);
  const scorer = stage.use(await openReward(reward, { dtype: base.dtype }));
  const all = typeof source === "string" ? (await readPrompts(source, stage.columns)).records : [...source];
  const { prompts, tooLong } = promptsWithRoom(base, all, maxTokens, name);
  return { scorer, prompts, warnings: tooLong };
}

/** Prompts that leave the model room for `maxTokens`, with a warning about the others. @throws InputError when there is none */
function promptsWithRoom(
  model: Model,
  all: readonly Prompt[],
  maxTokens: number,
  stage: string,
): { prompts: Prompt[]; tooLong: Warning[] } {
  const room = model.dimensions.context - maxTokens;
  const prompts = all.filter(({ prompt }) => encodePrompt(model.text, prompt).length <= room);
  if (!prompts.length)
    throw new InputError(
      all.length
        ? `${stage}: every prompt is longer than ${room} tokens, what the context leaves beside maxTokens`
        : `${stage}: there are no prompts`,
    );
  const lost = all.length - prompts.length;
  const message = `${lost} of ${all.length} prompts are longer than ${room} tokens and were dropped`;
  return { prompts, tooLong: lost ? [{ code: "too-long", message }] : [] };
}

/**
 * Refuses a policy that never learned to answer, since it would explore from noise. A model with a chat template was
 * fine-tuned by its makers.
 */
function refuseWithoutSft(model: Model, stage: string): void {
  if (model.stage === undefined && !model.tokenizer?.hasChatTemplate)
    throw new InputError(
      `${stage}: this model never had supervised fine-tuning (it has no chat template and no \`plumbline sft\` made it): ${stage} would explore from noise. Run \`plumbline sft\` first, or pass --allow-no-sft (allowNoSft: true)`,
    );
}
