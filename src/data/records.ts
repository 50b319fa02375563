import { z } from "zod";

/** One turn of a conversation. */
export const messageSchema = z.object({
  role: z.enum(["system", "user", "assistant"]),
  content: z.string(),
});
export type Message = z.infer<typeof messageSchema>;

/** A prompt with a response to imitate: training data of SFT. */
export interface Demonstration {
  prompt: Message[];
  completion: string;
}

/** Completions of one prompt, ranked by a person or a model: training data of the reward model and of DPO. */
export interface Comparison {
  prompt: Message[];
  /** Two or more. Their order has no meaning. */
  completions: string[];
  /** One for each completion; lower is better, equal ranks are ties. */
  ranks: number[];
  /** Margin by which the preferred completion's score should exceed the other's, in score units. */
  margins?: number;
  /** Weight in the loss, from 0 to 1. Default: 1. */
  weight?: number;
  /** Soft label: probability from 0.5 to 1 that the preferred completion is the better one. Default: 1. */
  probability?: number;
  labeler?: string;
}

/** A completion labelled as good (true) or bad (false): training data of KTO. */
export interface Unpaired {
  prompt: Message[];
  completion: string;
  label: boolean;
}

/** A prompt that the policy responds to in PPO, GRPO and online DPO. */
export interface Prompt {
  prompt: Message[];
  id?: string;
  /** Other fields of the row, for programmatic rewards: a reference answer, tests. */
  metadata?: Record<string, unknown>;
}
