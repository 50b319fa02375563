import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import pMap from "p-map";
import type { z } from "zod";
import { scoreAll } from "../batch/score.ts";
import { InputError } from "../data/errors.ts";
import { Model } from "../models/model.ts";
import { loadModel } from "../models/pull.ts";
import { parseConfig } from "../run/config.ts";
import type { DType } from "../tensor/index.ts";
import { encodeAnswer } from "../text/chat.ts";
import { answer, format, jsonSchema, length, numeric, regex, repetition } from "./builtin.ts";
import { code } from "./code.ts";
import { type Term, termConfig } from "./config.ts";
import { scoreByCommand, scoreByServer } from "./remote.ts";
import { noSandboxMessage, sandboxProblem } from "./sandbox/bubblewrap.ts";
import { findContainerEngine } from "./sandbox/container.ts";
import type { Answer, RewardFunction, Scorer } from "./scorer.ts";

type TermInput = z.input<typeof termConfig>;

/** What can be given as a reward: a model, a function, a name, path or address, or parts with settings. */
export type RewardInput = Model | RewardFunction | string | TermInput | readonly TermInput[];

/** One part of a reward. */
interface Part {
  score: (answers: readonly Answer[], signal?: AbortSignal) => Promise<number[]> | number[];
  model?: Model;
  /** Whether the model was loaded for it. */
  owned?: boolean;
}

/** Completions that a function scores at once. */
const atOnce = 16;

/**
 * Makes a reward of what was given, and loads what it needs.
 * @throws InputError for what is none: an unknown kind, a module without a function, a model without a scalar head
 */
export async function openReward(given: RewardInput, options: { dtype?: DType } = {}): Promise<Scorer> {
  const parts: (Part & { name: string; weight: number })[] = [];
  const dispose = () => {
    for (const { model, owned } of parts) if (owned) model?.dispose();
  };
  try {
    if (given instanceof Model) parts.push({ name: "model", weight: 1, ...modelPart(given) });
    else if (typeof given === "function")
      parts.push({ name: given.name || "function", weight: 1, ...functionPart(given, 60) });
    else
      for (const [i, one] of [typeof given === "string" ? parseTerm(given) : given].flat().entries()) {
        const term = parseConfig(termConfig, one, Array.isArray(given) ? `reward.${i}` : "reward");
        const kind = termKind(term);
        parts.push({ name: term.name ?? kind, weight: term.weight, ...(await open(term, kind, options)) });
      }
    const twice = parts.find(({ name }, i) => parts.findIndex((other) => other.name === name) < i);
    if (twice) throw new InputError(`reward: two parts are called "${twice.name}": give each a name`);
  } catch (error) {
    dispose();
    throw error;
  }
  return {
    model: parts.length === 1 ? parts[0]?.model : undefined,
    async score(answers, signal) {
      const scores = await Promise.all(
        parts.map(async ({ name, score }) => checked(name, answers, await score(answers, signal))),
      );
      return answers.map((_, i) => ({
        score: parts.reduce((sum, { weight }, p) => sum + weight * (scores[p]?.[i] as number), 0),
        parts: Object.fromEntries(parts.map(({ name }, p) => [name, scores[p]?.[i] as number])),
      }));
    },
    dispose,
  };
}

/** A name, path or address as the part that it looks like. */
function parseTerm(given: string): TermInput {
  if (/^https?:\/\//.test(given)) return { url: given };
  return /\.[cm]?[jt]s$/.test(given) ? { module: given } : { model: given };
}

const { name: _, weight: __, timeoutSeconds: ___, ...kinds } = termConfig.shape;
type Kind = keyof typeof kinds;

/** A reward as a run's config names it. */
export const rewardNames = (given: RewardInput): unknown =>
  given instanceof Model
    ? "a model in memory"
    : typeof given === "function"
      ? given.name || "a function"
      : given;

function termKind(term: Term): Kind {
  const names = Object.keys(kinds) as Kind[];
  const given = names.filter((kind) => term[kind] !== undefined);
  if (given.length === 1) return given[0] as Kind;
  throw new InputError(
    `reward: a part has ${given.length ? given.join(" and ") : "nothing that scores"}; it should have exactly one of ${names.join(", ")}`,
  );
}

const ready = { length, regex, format, jsonSchema, answer, numeric, repetition };

async function open(term: Term, kind: Kind, options: { dtype?: DType }): Promise<Part> {
  const { timeoutSeconds } = term;
  const of = <K extends Kind>(key: K) => term[key] as NonNullable<Term[K]>;
  switch (kind) {
    case "model":
      return { ...modelPart(await loadModel(of("model"), options)), owned: true };
    case "module":
      return functionPart(await importReward(of("module")), timeoutSeconds);
    case "command":
      return {
        score: (samples, signal) => scoreByCommand(of("command"), samples, { timeoutSeconds, signal }),
      };
    case "url":
      return { score: (samples, signal) => scoreByServer(of("url"), samples, { timeoutSeconds, signal }) };
    case "code": {
      const { language, measure, container, withoutSandbox } = of("code");
      if (container !== undefined) findContainerEngine(container, language);
      const elsewhere = measure === "style" || container || withoutSandbox;
      const problem = elsewhere ? undefined : sandboxProblem();
      if (problem) throw new InputError(`reward: ${noSandboxMessage(problem)}`);
      // Its tests have limits of their own.
      return functionPart(code(of("code")), undefined, availableParallelism());
    }
    default:
      return functionPart(ready[kind](of(kind) as never), timeoutSeconds);
  }
}

function modelPart(model: Model): Part {
  if (model.head !== "score")
    throw new InputError(
      "the reward model has no scalar head: train one with `plumbline reward`, or give a function",
    );
  return {
    model,
    score: (answers) =>
      scoreAll(
        model,
        answers.map(({ prompt, text }) => encodeAnswer(model.text, prompt, text)),
      ),
  };
}

/** @param seconds longest that it may take for a completion, where it waits for something */
function functionPart(reward: RewardFunction, seconds: number | undefined, concurrency = atOnce): Part {
  const one = async ({ prompt, text, metadata = {} }: Answer): Promise<number> => {
    if (seconds === undefined) return reward(prompt, text, metadata);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new InputError(`reward: the function did not end in ${seconds} s`)),
        seconds * 1000,
      );
    });
    try {
      return await Promise.race([reward(prompt, text, metadata), late]);
    } finally {
      clearTimeout(timer);
    }
  };
  return {
    score: (samples, signal) => pMap(samples, one, { concurrency, ...(signal && { signal }) }),
  };
}

async function importReward(path: string): Promise<RewardFunction> {
  if (!existsSync(path)) throw new InputError(`${path}: there is no such file`);
  let found: unknown;
  try {
    ({ default: found } = await import(pathToFileURL(resolve(path)).href));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_UNKNOWN_FILE_EXTENSION")
      throw new InputError(`${path}: this Node runs no TypeScript: use 22.18 or later, or JavaScript (.mjs)`);
    throw new InputError(`${path}: cannot be loaded: ${(error as Error).message}`);
  }
  if (typeof found !== "function")
    throw new InputError(
      `${path}: has no function as its default export: export default (prompt, completion, metadata) => …`,
    );
  return found as RewardFunction;
}

function checked(name: string, answers: readonly Answer[], scores: readonly unknown[]): number[] {
  if (scores.length !== answers.length)
    throw new InputError(`reward "${name}": ${scores.length} scores for ${answers.length} completions`);
  const wrong = scores.findIndex((score) => typeof score !== "number" || !Number.isFinite(score));
  if (wrong >= 0)
    throw new InputError(
      `reward "${name}" gave ${String(scores[wrong])}, which is no finite number, for: ${JSON.stringify(answers[wrong]?.text.slice(0, 200))}`,
    );
  return scores as number[];
}
