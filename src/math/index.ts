export * from "../statistics/index.ts";
export * from "./gae.ts";
export * from "./kl.ts";
export * from "./logprobs.ts";
export * from "./masked.ts";
export * from "./pairs.ts";
export * from "./running.ts";
