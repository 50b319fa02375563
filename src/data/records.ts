import { z } from "zod";

/** One turn of a conversation. */
export const messageSchema = z.object({
  role: z.enum(["system", "user", "assistant"]),
  content: z.string(),
});
export type Message = z.infer<typeof messageSchema>;

/** What a person would have answered: the data of SFT. */
export interface Demonstration {
  prompt: Message[];
  completion: string;
}

/** Completions of one prompt, ranked by a person or a model: the data of the reward model and of DPO. */
export interface Comparison {
  prompt: Message[];
  /** Two or more, in no order that means anything. */
  completions: string[];
  /** One per completion; lower is better, equal is a tie. */
  ranks: number[];
  /** By how much the better of a pair should win, in score units. */
  margins?: number;
  /** How much it counts, from 0 for nothing to 1, which it is where absent. */
  weight?: number;
  /** How likely the better of a pair is the better, from 0.5 to 1, which it is where absent: a soft label. */
  probability?: number;
  labeler?: string;
}

/** A completion that somebody found good or bad: the data of KTO. */
export interface Unpaired {
  prompt: Message[];
  completion: string;
  label: boolean;
}

/** What a policy answers in training. */
export interface Prompt {
  prompt: Message[];
  id?: string;
  /** What else its row has, for rewards that are programs: a right answer, tests. */
  metadata?: Record<string, unknown>;
}
