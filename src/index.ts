export type { Row } from "./batch/pack.ts";
export { scoreAll } from "./batch/score.ts";
export { DiskError, DivergedError, InputError, PlumblineError, RemoteError } from "./data/errors.ts";
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
export {
  distinct,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  responseKl,
} from "./eval/evaluate.ts";
export type { Interval } from "./math/index.ts";
export type { Dimensions, Head, Json } from "./models/architecture.ts";
export type { Attend, Batch } from "./models/attention.ts";
export { Model } from "./models/model.ts";
export { loadModel, type PullOptions, pullModel } from "./models/pull.ts";
export type { LoraConfig } from "./nn/lora-config.ts";
export { openReward, type RewardInput } from "./rewards/open.ts";
export type { Answer, RewardFunction, Score, Scorer } from "./rewards/scorer.ts";
export { Engine, type EngineOptions, type Request } from "./rollout/engine.ts";
export { decode, type GenerateOptions, generate, modelSampler } from "./rollout/generate.ts";
export { type ScoredCompletion, sampleAndScore } from "./rollout/sample-and-score.ts";
export type { Completion, SampleOptions, SamplePrompt, Sampler } from "./rollout/sampler.ts";
export { serverSampler } from "./rollout/server.ts";
export type { Event, Metrics } from "./run/events.ts";
export { Interrupted, type Training } from "./run/training.ts";
export type { Warning } from "./run/warnings.ts";
export type { DpoConfig, DpoSettings } from "./stages/dpo/config.ts";
export { type DpoOptions, type DpoResult, dpo } from "./stages/dpo/train.ts";
export type { GrpoSettings } from "./stages/grpo/config.ts";
export { type GrpoOptions, type GrpoResult, grpo } from "./stages/grpo/train.ts";
export type { OnlineSettings } from "./stages/online-dpo/config.ts";
export { type OnlineDpoOptions, type OnlineDpoResult, onlineDpo } from "./stages/online-dpo/train.ts";
export type { PpoConfig, PpoSettings, PpoStepConfig, PpoStepSettings } from "./stages/ppo/config.ts";
export { type PpoOptions, type PpoResult, ppo } from "./stages/ppo/train.ts";
export {
  type PpoSample,
  PpoTrainer,
  type PpoTrainerOptions,
  type StepOptions,
} from "./stages/ppo/trainer.ts";
export type { RewardConfig, RewardSettings } from "./stages/reward/config.ts";
export type { RewardReport } from "./stages/reward/evaluate.ts";
export { type RewardOptions, type RewardResult, reward } from "./stages/reward/train.ts";
export type { SftConfig, SftSettings } from "./stages/sft/config.ts";
export { type SftOptions, type SftResult, sft } from "./stages/sft/train.ts";
export { encodeExample, encodePrompt, renderChat } from "./text/chat.ts";
export { Tokenizer, type TokenizerFiles } from "./text/tokenizer.ts";
