import { z } from "zod";

/** Parts of a message, as multimodal data sets write them: joined to one text. */
const textParts = z
  .array(z.object({ type: z.literal("text"), text: z.string() }), {
    error: 'expected a string, or a list of {type: "text", text}',
  })
  .transform((parts) => parts.map(({ text }) => text).join(""));

/** JSON of a tool call, in the form that the model's chat template expects. */
const toolCall = z.record(z.string(), z.unknown());

/** One turn of a conversation. */
export const messageSchema = z.object({
  role: z.enum(["system", "user", "assistant", "tool", "developer"]),
  content: z.string(),
  /** Functions that an assistant turn calls. */
  tool_calls: z.array(toolCall).optional(),
  /** Call that a tool's turn answers. */
  tool_call_id: z.string().optional(),
  /** Function that a tool's turn answers for. */
  name: z.string().optional(),
  /** Reasoning before the answer, under the names that data sets have for it. */
  reasoning_content: z.string().optional(),
  reasoning: z.string().optional(),
  thinking: z.string().optional(),
});
export type Message = z.infer<typeof messageSchema>;

/** A turn as data files have it: its content may be parts of text, or missing beside tool calls. */
export const messageInFileSchema = messageSchema.extend({
  content: z
    .union([z.string(), textParts])
    .nullish()
    .transform((content) => content ?? ""),
});

/** JSON schema of a function that a model may call. */
export const toolSchema = z.record(z.string(), z.unknown());
export type Tool = z.infer<typeof toolSchema>;

/** A prompt with a response to imitate: training data of SFT. */
export interface Demonstration {
  prompt: Message[];
  /** The response: a text, or an assistant message where it has more than text, such as tool calls. */
  completion: string | Message;
  /** Functions that the model may call. */
  tools?: Tool[];
  /** Whether the assistant turns of `prompt` are to be imitated too, as in data of whole conversations. Default: false. */
  learnPrompt?: boolean;
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
