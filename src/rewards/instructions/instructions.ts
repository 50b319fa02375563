import { InputError } from "../../data/errors.ts";
import { mostSimilar } from "../../run/config.ts";
import type { RewardFunction } from "../scorer.ts";
import { type Check, checks } from "./checks.ts";

// IFEval (Zhou et al. 2023): instructions whose following a program can check.

/** An instruction of a prompt: its check, and the arguments that say what it asks for. */
export interface Instruction {
  id: string;
  check: Check;
  arguments: unknown;
}

/** Verdicts on a response, an entry for each instruction of its prompt. */
export interface Verdicts {
  strict: boolean[];
  loose: boolean[];
}

/**
 * Parses the instructions of a prompt as IFEval's data has them.
 * @param where for errors @throws InputError for an unknown instruction or wrong arguments
 */
export function parseInstructions(
  { instruction_id_list, kwargs }: { instruction_id_list: readonly string[]; kwargs: readonly unknown[] },
  where: string,
): Instruction[] {
  if (kwargs.length !== instruction_id_list.length)
    throw new InputError(
      `${where}: instruction_id_list has ${instruction_id_list.length} entries, and kwargs ${kwargs.length}`,
    );
  return instruction_id_list.map((id, i) => {
    const check = checks[id];
    if (!check) {
      const similar = mostSimilar(id, Object.keys(checks));
      throw new InputError(
        `${where}: unknown instruction "${id}"${similar === undefined ? "" : ` (did you mean "${similar}"?)`}`,
      );
    }
    const { data, error, success } = check.arguments.safeParse(kwargs[i]);
    if (success) return { id, check, arguments: data };
    const problems = error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
    throw new InputError(`${where}: kwargs of ${id}: ${problems.join("; ")}`);
  });
}

/** Whether a response follows an instruction as it stands. An empty one follows none. */
export const isFollowed = (response: string, { check, arguments: args }: Instruction): boolean =>
  response.trim() !== "" && check.isFollowed(response, args);

/** A response with and without its first line, its last line and asterisks, one of which follows a loosely checked instruction. */
function looseForms(response: string): string[] {
  const lines = response.split("\n");
  const forms = [
    response,
    lines.slice(1).join("\n").trim(),
    lines.slice(0, -1).join("\n").trim(),
    lines.slice(1, -1).join("\n").trim(),
  ];
  return [...forms, ...forms.map((form) => form.replaceAll("*", ""))];
}

/** Checks a response against each instruction of its prompt. */
export function verdictsOn(response: string, instructions: readonly Instruction[]): Verdicts {
  const forms = looseForms(response);
  return {
    strict: instructions.map((instruction) => isFollowed(response, instruction)),
    loose: instructions.map((instruction) => forms.some((form) => isFollowed(form, instruction))),
  };
}

/** How a reward scores a response: the share of its instructions that it follows, or 1 where it follows all. */
export interface InstructionsReward {
  measure?: "share" | "all" | undefined;
}

/**
 * Scores how well a completion follows the instructions of its prompt's row, in the fields `instruction_id_list` and
 * `kwargs`, as they stand (strictly).
 */
export function instructions({ measure = "share" }: InstructionsReward): RewardFunction {
  return (_, completion, { instruction_id_list, kwargs }) => {
    if (!Array.isArray(instruction_id_list) || !Array.isArray(kwargs))
      throw new InputError(
        "reward instructions: a prompt's row has no instruction_id_list and kwargs, which say what is checked",
      );
    const parsed = parseInstructions({ instruction_id_list, kwargs }, "reward instructions");
    const followed = parsed.filter((instruction) => isFollowed(completion, instruction)).length;
    return measure === "all" ? Number(followed === parsed.length) : followed / parsed.length;
  };
}
