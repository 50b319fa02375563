import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import pMap from "p-map";
import type { z } from "zod";
import { scoreAll, scoreWithDistance } from "../batch/score.ts";
import { InputError } from "../data/errors.ts";
import { type Combination, Ensemble, openEnsemble } from "../models/ensemble.ts";
import { Model } from "../models/model.ts";
import { loadModel } from "../models/pull.ts";
import { parseConfig } from "../run/config.ts";
import { isFiniteFloat32 } from "../statistics/numbers.ts";
import type { DType } from "../tensor/index.ts";
import { encodeAnswer } from "../text/chat.ts";
import { answer, format, jsonSchema, length, numeric, regex, repetition } from "./builtin.ts";
import { code } from "./code.ts";
import { type Term, termConfig } from "./config.ts";
import { scoreByEnsemble } from "./ensemble.ts";
import { instructions } from "./instructions/instructions.ts";
import { scoreByCommand, scoreByServer } from "./remote.ts";
import { noSandboxMessage, sandboxProblem } from "./sandbox/bubblewrap.ts";
import { findContainerEngine } from "./sandbox/container.ts";
import type { Answer, RewardFunction, Scorer } from "./scorer.ts";

type TermInput = z.input<typeof termConfig>;

/** A reward to open: a model or several, a function, a name, path or address, or terms with settings. */
export type RewardInput = Model | Ensemble | RewardFunction | string | TermInput | readonly TermInput[];

/** What a term makes of answers: see `Score`. */
interface PartScores {
  scores: readonly number[];
  disagreement?: readonly number[];
  distance?: readonly number[];
}

/** A loaded term of a reward. */
interface Part {
  score: (answers: readonly Answer[], signal?: AbortSignal) => Promise<PartScores> | PartScores;
  /** A reward model; of an ensemble the first. */
  model?: Model;
  /** Frees what was loaded for this reward. */
  dispose?: () => void;
}

/** Number of completions that a reward function scores concurrently. */
const functionConcurrency = 16;

/**
 * Opens a reward: loads its models and modules, and checks its settings.
 * @param options `dtype`: precision of reward models. Default: bfloat16 where the CPU is fast at it, else float32
 * @throws InputError for an unknown kind of term, a module without a function, or a model without a scalar head
 */
export async function openReward(reward: RewardInput, options: { dtype?: DType } = {}): Promise<Scorer> {
  const parts: (Part & { name: string; weight: number })[] = [];
  const dispose = () => {
    for (const part of parts) part.dispose?.();
  };
  try {
    if (reward instanceof Model) parts.push({ name: "model", weight: 1, ...modelPart(reward) });
    else if (reward instanceof Ensemble) parts.push({ name: "model", weight: 1, ...ensemblePart(reward) });
    else if (typeof reward === "function")
      parts.push({ name: reward.name || "function", weight: 1, ...functionPart(reward, 60) });
    else
      for (const [i, input] of [typeof reward === "string" ? parseTerm(reward) : reward].flat().entries()) {
        const term = parseConfig(termConfig, input, Array.isArray(reward) ? `reward.${i}` : "reward");
        const kind = termKind(term);
        parts.push({
          name: term.name ?? kind,
          weight: term.weight,
          ...(await openTerm(term, kind, options)),
        });
      }
    const duplicate = parts.find(({ name }, i) => parts.findIndex((other) => other.name === name) < i);
    if (duplicate) throw new InputError(`reward: two parts are called "${duplicate.name}": give each a name`);
  } catch (error) {
    dispose();
    throw error;
  }
  return {
    model: parts.length === 1 ? parts[0]?.model : undefined,
    async score(answers, signal) {
      const scored = await Promise.all(
        parts.map(async ({ name, score }) => {
          const scored = await score(answers, signal);
          return { ...scored, scores: checkScores(name, answers, scored.scores) };
        }),
      );
      const sums = answers.map((_, i) =>
        parts.reduce((sum, { weight }, p) => sum + weight * (scored[p]?.scores[i] as number), 0),
      );
      const disagreement = scored.find((part) => part.disagreement)?.disagreement;
      const distance = scored.find((part) => part.distance)?.distance;
      return checkScores("the weighted sum", answers, sums).map((score, i) => ({
        score,
        parts: Object.fromEntries(parts.map(({ name }, p) => [name, scored[p]?.scores[i] as number])),
        ...(disagreement && { disagreement: disagreement[i] as number }),
        ...(distance && { distance: distance[i] as number }),
      }));
    },
    dispose,
  };
}

/** Makes a term of a name, path or address: a server, a module, or else a model. */
function parseTerm(reward: string): TermInput {
  if (/^https?:\/\//.test(reward)) return { url: reward };
  return /\.[cm]?[jt]s$/.test(reward) ? { module: reward } : { model: reward };
}

const {
  name: _name,
  weight: _weight,
  timeoutSeconds: _timeout,
  combine: _combine,
  penalty: _penalty,
  ...kinds
} = termConfig.shape;
type Kind = keyof typeof kinds;

/** Describes a reward in a run's config, as JSON. */
export const rewardNames = (reward: RewardInput): unknown =>
  reward instanceof Model || reward instanceof Ensemble
    ? "a model in memory"
    : typeof reward === "function"
      ? reward.name || "a function"
      : reward;

/** Returns the key of a term that names what scores. @throws InputError unless there is exactly one */
function termKind(term: Term): Kind {
  const names = Object.keys(kinds) as Kind[];
  const present = names.filter((kind) => term[kind] !== undefined);
  if (present.length === 1) return present[0] as Kind;
  throw new InputError(
    `reward: a part has ${present.length ? present.join(" and ") : "nothing that scores"}; it should have exactly one of ${names.join(", ")}`,
  );
}

/** Built-in rewards by the term's key. */
const builtin = { length, regex, format, jsonSchema, answer, numeric, repetition, instructions };

/** Loads a term. */
async function openTerm(term: Term, kind: Kind, options: { dtype?: DType }): Promise<Part> {
  const { timeoutSeconds, combine, penalty } = term;
  const setting = <K extends Kind>(key: K) => term[key] as NonNullable<Term[K]>;
  switch (kind) {
    case "model": {
      const name = setting("model");
      const ensemble = openEnsemble(name, options);
      if (ensemble) {
        const part = ensemblePart(ensemble, {
          combine: combine ?? ensemble.combination.combine,
          penalty: penalty ?? ensemble.combination.penalty,
        });
        return { ...part, dispose: () => ensemble.dispose() };
      }
      if (combine !== undefined || penalty !== undefined)
        throw new InputError(
          `reward: ${name} is one reward model: combine and penalty are settings of an ensemble, which \`plumbline reward\` trains with members: 3`,
        );
      const model = await loadModel(name, options);
      return { ...modelPart(model), dispose: () => model.dispose() };
    }
    case "module":
      return functionPart(await importReward(setting("module")), timeoutSeconds);
    case "command":
      return {
        score: async (samples, signal) => ({
          scores: await scoreByCommand(setting("command"), samples, { timeoutSeconds, signal }),
        }),
      };
    case "url":
      return {
        score: async (samples, signal) => ({
          scores: await scoreByServer(setting("url"), samples, { timeoutSeconds, signal }),
        }),
      };
    case "code": {
      const { language, measure, container, withoutSandbox } = setting("code");
      if (container !== undefined) findContainerEngine(container, language);
      const needsNoSandbox = measure === "style" || container || withoutSandbox;
      const problem = needsNoSandbox ? undefined : sandboxProblem();
      if (problem) throw new InputError(`reward: ${noSandboxMessage(problem)}`);
      // No timeout: `limits.seconds` limits each program.
      return functionPart(code(setting("code")), undefined, availableParallelism());
    }
    default:
      return functionPart(builtin[kind](setting(kind) as never), timeoutSeconds);
  }
}

/**
 * Makes a part that scores with a reward model, at the end token. An answer that was cut off is scored as if it had ended,
 * with the end token behind it, as the model learned no score elsewhere; TRL scores the last token that was generated.
 * @throws InputError for a model without a scalar head
 */
function modelPart(model: Model): Part {
  if (model.head !== "score")
    throw new InputError(
      "the reward model has no scalar head: train one with `plumbline reward`, or give a function",
    );
  return {
    model,
    score(answers) {
      const rows = encodeAnswers(model, answers);
      if (!model.distribution) return { scores: scoreAll(model, rows) };
      const scored = scoreWithDistance(model, model.distribution, rows);
      return { scores: scored.map(({ score }) => score), distance: scored.map(({ distance }) => distance) };
    },
  };
}

/** Makes a part that scores with an ensemble. @param combination how. Default: the ensemble's */
function ensemblePart(ensemble: Ensemble, combination?: Combination): Part {
  const [model] = ensemble.members as [Model];
  return {
    model,
    score(answers) {
      const scored = scoreByEnsemble(ensemble, encodeAnswers(model, answers), combination);
      return {
        scores: scored.map(({ score }) => score),
        disagreement: scored.map(({ disagreement }) => disagreement),
      };
    },
  };
}

const encodeAnswers = ({ text: tokenizer }: Model, answers: readonly Answer[]) =>
  answers.map(({ prompt, text }) => encodeAnswer(tokenizer, prompt, text));

/**
 * Makes a part that scores with a function.
 * @param seconds time limit for a completion, which a function that never awaits can exceed; undefined: none
 */
function functionPart(
  reward: RewardFunction,
  seconds: number | undefined,
  concurrency = functionConcurrency,
): Part {
  const scoreOne = async ({ prompt, text, metadata = {} }: Answer): Promise<number> => {
    if (seconds === undefined) return reward(prompt, text, metadata);
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new InputError(`reward: the function did not end in ${seconds} s`)),
        seconds * 1000,
      );
    });
    try {
      return await Promise.race([reward(prompt, text, metadata), timeout]);
    } finally {
      clearTimeout(timer);
    }
  };
  return {
    score: async (samples, signal) => ({
      scores: await pMap(samples, scoreOne, { concurrency, ...(signal && { signal }) }),
    }),
  };
}

/** Imports the default export of a module. @throws InputError when it cannot be loaded or is no function */
async function importReward(path: string): Promise<RewardFunction> {
  if (!existsSync(path)) throw new InputError(`${path}: there is no such file`);
  let reward: unknown;
  // A user's module: its path is known only now.
  try {
    ({ default: reward } = await import(pathToFileURL(resolve(path)).href));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_UNKNOWN_FILE_EXTENSION")
      throw new InputError(`${path}: this Node runs no TypeScript: use 22.18 or later, or JavaScript (.mjs)`);
    throw new InputError(`${path}: cannot be loaded: ${(error as Error).message}`);
  }
  if (typeof reward !== "function")
    throw new InputError(
      `${path}: has no function as its default export: export default (prompt, completion, metadata) => …`,
    );
  return reward as RewardFunction;
}

/** Checks that there is a score for each answer which float32 can hold, as losses are computed in it. @throws InputError */
function checkScores(name: string, answers: readonly Answer[], scores: readonly unknown[]): number[] {
  if (scores.length !== answers.length)
    throw new InputError(`reward "${name}": ${scores.length} scores for ${answers.length} completions`);
  const wrong = scores.findIndex((score) => !isFiniteFloat32(score));
  if (wrong >= 0)
    throw new InputError(
      `reward "${name}" gave ${String(scores[wrong])}, which is ${Number.isFinite(scores[wrong]) ? "too large for float32 (3.4e38 at most)" : "no finite number"}, for: ${JSON.stringify(answers[wrong]?.text.slice(0, 200))}`,
    );
  return scores as number[];
}
