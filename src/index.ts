export { InputError } from "./data/errors.ts";
export type { Kind } from "./data/formats/format.ts";
export {
  checkData,
  type DataReport,
  readComparisons,
  readDemonstrations,
  readPrompts,
  readUnpaired,
} from "./data/readers.ts";
export type { Comparison, Demonstration, Message, Prompt, Unpaired } from "./data/records.ts";
export type { DpoConfig, DpoSettings, OnlineSettings } from "./dpo/config.ts";
export { type OnlineDpoOptions, type OnlineDpoResult, onlineDpo } from "./dpo/online.ts";
export { type DpoOptions, type DpoResult, dpo } from "./dpo/train.ts";
export {
  distinct,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  responseKl,
} from "./eval/evaluate.ts";
export type { GrpoSettings } from "./grpo/config.ts";
export { type GrpoOptions, type GrpoResult, grpo } from "./grpo/train.ts";
export type { Interval } from "./math/index.ts";
export type { Dimensions, Head, Json } from "./models/architecture.ts";
export type { Attend, Batch } from "./models/attention.ts";
export { Model } from "./models/model.ts";
export type { Row } from "./models/pack.ts";
export { loadModel, type PullOptions, pullModel } from "./models/pull.ts";
export type { LoraConfig } from "./nn/lora-config.ts";
export type { PpoConfig, PpoSettings, PpoStepConfig, PpoStepSettings } from "./ppo/config.ts";
export { type PpoOptions, type PpoResult, ppo } from "./ppo/train.ts";
export { PpoTrainer, type PpoTrainerOptions, type Rollout, type StepOptions } from "./ppo/trainer.ts";
export type { RewardConfig, RewardSettings } from "./reward/config.ts";
export type { RewardReport } from "./reward/evaluate.ts";
export { type RewardOptions, type RewardResult, reward } from "./reward/train.ts";
export { openReward, type RewardInput } from "./rewards/open.ts";
export type { Reward, RewardFunction, Sample, Scores } from "./rewards/reward.ts";
export { decode, type GenerateOptions, generate, type Response } from "./rollout/generate.ts";
export { scoreAll } from "./rollout/score.ts";
export type { Event, Metrics } from "./run/events.ts";
export { Interrupted, type Training } from "./run/training.ts";
export type { Warning } from "./run/warnings.ts";
export type { SftConfig, SftSettings } from "./sft/config.ts";
export { type SftOptions, type SftResult, sft } from "./sft/train.ts";
export { encodeExample, encodePrompt, renderChat } from "./text/chat.ts";
export { Tokenizer, type TokenizerFiles } from "./text/tokenizer.ts";
