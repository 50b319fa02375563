import { z } from "zod";
import { InputError, RemoteError } from "../data/errors.ts";
import { parseJsonl, type Row, rowLocation } from "../data/jsonl.ts";
import { readRows } from "../data/tables.ts";
import { type Instruction, parseInstructions } from "../rewards/instructions/instructions.ts";
import { type Interval, shareInterval } from "../statistics/bootstrap.ts";

// IFEval (Zhou et al. 2023): prompts with instructions, and answers to them, in the authors' JSON lines.

/** A prompt of IFEval with its instructions, and an answer where the file has it. */
export interface IfevalPrompt {
  key: number | string;
  prompt: string;
  instructions: Instruction[];
  response?: string | undefined;
}

const rowSchema = z.object({
  key: z.union([z.number(), z.string()]),
  prompt: z.string().min(1),
  instruction_id_list: z.array(z.string()).min(1),
  kwargs: z.array(z.record(z.string(), z.unknown())),
  response: z.string().optional(),
});

/** Hub id of the data set, and the file in it. */
export const ifevalOnHub = { repo: "google/IFEval", path: "ifeval_input_data.jsonl" };

/**
 * Reads prompts of IFEval.
 * @param file JSON lines. Default: the data set on the Hugging Face Hub
 * @throws InputError for a malformed line, an unknown instruction or the same key twice, RemoteError
 */
export async function readIfeval(file?: string): Promise<IfevalPrompt[]> {
  const where = file ?? `${ifevalOnHub.repo}.jsonl`;
  const rows = file === undefined ? parseJsonl(where, await downloadIfeval()) : await readRows(file);
  const prompts = rows.map((row) => parseRow(row, rowLocation(where, row.line)));
  const keys = new Set<unknown>();
  for (const { key } of prompts) {
    if (keys.has(key)) throw new InputError(`${where}: two prompts have the key ${key}`);
    keys.add(key);
  }
  return prompts;
}

function parseRow({ value }: Row, where: string): IfevalPrompt {
  const { data: row, error } = rowSchema.safeParse(value);
  if (!row) {
    const problems = error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
    throw new InputError(
      `${where}: ${problems.join("; ")}. A line has key, prompt, instruction_id_list, kwargs, and response where it is answered`,
    );
  }
  const { key, prompt, response } = row;
  return { key, prompt, instructions: parseInstructions(row, where), response };
}

async function downloadIfeval(): Promise<Buffer> {
  const { repo, path } = ifevalOnHub;
  const { downloadFile } = await import("@huggingface/hub");
  try {
    const blob = await downloadFile({
      repo: { type: "dataset", name: repo },
      path,
      ...(process.env.HF_TOKEN ? { accessToken: process.env.HF_TOKEN } : {}),
      ...(process.env.HF_ENDPOINT ? { hubUrl: process.env.HF_ENDPOINT } : {}),
    });
    if (!blob) throw new Error(`there is no ${path} in it`);
    return Buffer.from(await blob.arrayBuffer());
  } catch (error) {
    throw new RemoteError(
      `${repo}: could not be fetched from the Hugging Face Hub: ${(error as Error).message}. Check the network, or give a file with --data`,
    );
  }
}

/** Shares of prompts of which all instructions are followed, and of instructions, with their intervals over prompts. */
export interface Accuracy {
  prompt: Interval;
  instruction: Interval;
}

/** Computes accuracies. @param verdicts of each prompt, whether each of its instructions is followed */
export function accuracyOf(verdicts: readonly (readonly boolean[])[]): Accuracy {
  const count = (all: readonly boolean[]) => all.filter(Boolean).length;
  return {
    prompt: shareInterval(verdicts.map((all) => ({ wins: Number(all.every(Boolean)), total: 1 }))),
    instruction: shareInterval(verdicts.map((all) => ({ wins: count(all), total: all.length }))),
  };
}
