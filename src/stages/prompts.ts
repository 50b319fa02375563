import { InputError } from "../data/errors.ts";
import { readPrompts } from "../data/readers.ts";
import type { Prompt } from "../data/records.ts";
import type { Model } from "../models/model.ts";
import { encodePrompt } from "../text/chat.ts";

/**
 * Prompts that leave the model room for `maxTokens`, and what to say of the others.
 * @param source prompts, or a file of them @throws InputError when there is none
 */
export async function promptsWithRoom(
  model: Model,
  source: string | readonly Prompt[],
  maxTokens: number,
  stage: string,
): Promise<{ prompts: Prompt[]; tooLong: { code: string; message: string }[] }> {
  const all = typeof source === "string" ? (await readPrompts(source)).records : [...source];
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
 * A policy that never learned to answer explores from noise: SFT must come first. A chat template tells of one that its
 * makers tuned. @throws InputError
 */
export function refuseWithoutSft(model: Model, stage: string): void {
  if (model.stage === undefined && model.tokenizer?.chatTemplate === undefined)
    throw new InputError(
      `${stage}: this model never had supervised fine-tuning (it has no chat template and no \`plumbline sft\` made it): ${stage} would explore from noise. Run \`plumbline sft\` first, or pass --allow-no-sft (allowNoSft: true)`,
    );
}
