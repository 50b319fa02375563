// The library, in sections. `plumbline/math` and `plumbline/tensor` have the functions on tensors below it.

// ---- models and text ----
export type { Row } from "./batch/pack.ts";
export { scoreAll } from "./batch/score.ts";
// ---- data ----
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
// ---- evaluation ----
export {
  distinct,
  type EvaluatedCompletion,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  responseKl,
} from "./eval/evaluate.ts";
// ---- labels ----
export { LabelStore } from "./labels/store.ts";
// ---- iterative RLHF ----
export { type LoopConfig, type LoopRecipe, parseLoop } from "./loop/config.ts";
export { type LoopOptions, type LoopReport, runLoop } from "./loop/loop.ts";
export type { Dimensions, Head, Json } from "./models/architecture.ts";
export type { Attend, Batch } from "./models/attention.ts";
export { averageMembers, type Combination, Ensemble, openEnsemble } from "./models/ensemble.ts";
export { Model } from "./models/model.ts";
export { loadModel, type PullOptions, pullModel } from "./models/pull.ts";
export type { LoraConfig } from "./nn/lora-config.ts";
// ---- rewards ----
export { openReward, type RewardInput } from "./rewards/open.ts";
export type { Answer, RewardFunction, Score, Scorer } from "./rewards/scorer.ts";
// ---- rollouts ----
export { Engine, type EngineOptions, type Request } from "./rollout/engine.ts";
export { decode, type GenerateOptions, generate, modelSampler } from "./rollout/generate.ts";
export { type ScoredCompletion, sampleAndScore } from "./rollout/sample-and-score.ts";
export type { Completion, SampleOptions, SamplePrompt, Sampler } from "./rollout/sampler.ts";
export { serverSampler } from "./rollout/server.ts";
// ---- stages ----
export type { Event, Metrics, SampleEvent } from "./run/events.ts";
export { Interrupted, type Training } from "./run/training.ts";
export type { Warning } from "./run/warnings.ts";
export type { DpoConfig, DpoSettings } from "./stages/dpo/config.ts";
// ---- losses: they take tensors and numbers ----
export { type Completions, ktoLoss, type PairOptions, pairLoss } from "./stages/dpo/loss.ts";
export { type DpoOptions, type DpoResult, dpo } from "./stages/dpo/train.ts";
export type { GrpoConfig, GrpoSettings } from "./stages/grpo/config.ts";
export { policyGradientLoss, tokenWeights } from "./stages/grpo/loss.ts";
export { type GrpoOptions, type GrpoResult, grpo } from "./stages/grpo/train.ts";
export type { OnlineConfig, OnlineSettings } from "./stages/online-dpo/config.ts";
export { type OnlineDpoOptions, type OnlineDpoResult, onlineDpo } from "./stages/online-dpo/train.ts";
export type { PpoConfig, PpoSettings, PpoStepConfig, PpoStepSettings } from "./stages/ppo/config.ts";
export { policyLoss, valueLoss } from "./stages/ppo/loss.ts";
export { type PpoOptions, type PpoResult, ppo } from "./stages/ppo/train.ts";
export {
  type PpoSample,
  type PpoState,
  PpoTrainer,
  type PpoTrainerOptions,
  type StepOptions,
  type StepResult,
} from "./stages/ppo/trainer.ts";
export type { RejectionConfig, RejectionSettings } from "./stages/rejection/config.ts";
export { type RejectionOptions, type RejectionResult, rejection } from "./stages/rejection/train.ts";
export type { RewardConfig, RewardSettings } from "./stages/reward/config.ts";
export type { RewardReport } from "./stages/reward/evaluate.ts";
export { rankingLoss } from "./stages/reward/loss.ts";
export { type RewardOptions, type RewardResult, reward } from "./stages/reward/train.ts";
export type { SftConfig, SftSettings } from "./stages/sft/config.ts";
export { sftLoss } from "./stages/sft/loss.ts";
export { type SftOptions, type SftResult, sft } from "./stages/sft/train.ts";
export type { StageOptions } from "./stages/stage.ts";
export type { Interval } from "./statistics/bootstrap.ts";
export { encodeExample, encodePrompt, renderChat } from "./text/chat.ts";
export { Tokenizer, type TokenizerFiles } from "./text/tokenizer.ts";
