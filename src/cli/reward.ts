import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { writeJsonl } from "../data/jsonl.ts";
import type { Comparison } from "../data/records.ts";
import { rewardConfig } from "../reward/config.ts";
import { stageCommand } from "./stage.ts";
import { withStore } from "./store.ts";

interface Inputs {
  data?: string;
  labels?: string;
  project?: string;
  /** Absent where the training is only estimated. */
  run?: string;
  resume?: boolean;
}

export const reward = () =>
  stageCommand({
    name: "reward",
    description: "Train a reward model on rankings",
    settings: rewardConfig,
    inputs: {
      model: z.string(),
      data: z.string().optional(),
      labels: z.string().optional(),
      project: z.string().optional(),
    },
    hints: {
      model: "the SFT model: name, Hub id, folder or run",
      data: "file of comparisons",
      labels: "in place of a file: the label store, an SQLite file or a Postgres address",
      project: "its project, by name or id; not needed where there is one",
    },
    start: async ({ labels, project, ...config }: Inputs) => {
      if ((config.data === undefined) === (labels === undefined))
        throw new InputError("reward: give either --data, a file of comparisons, or --labels, a label store");
      const data = config.data ?? (await snapshot(labels as string, project, config));
      return (await import("../reward/train.ts")).reward({ ...config, data } as never);
    },
  });

/**
 * Writes what a project's labelers said beside the run, and names the file: a run that is resumed goes on with the same
 * labels, whatever was said meanwhile. What is only estimated leaves no file.
 */
async function snapshot(
  where: string,
  name: string | undefined,
  { run, resume }: Inputs,
): Promise<string | Comparison[]> {
  const path = run === undefined ? undefined : `${run}.labels.jsonl`;
  if (path !== undefined && resume && existsSync(path)) return path;
  const { collect, exportRows } = await import("../labels/export.ts");
  return withStore(where, async (store, find) => {
    const project = await find(name);
    const rows: unknown[] = await collect(exportRows(store, project, "rankings"));
    if (!rows.length) throw new InputError(`"${project.name}": nobody has compared anything yet`);
    if (path === undefined) return rows as Comparison[];
    // A run that is there keeps its labels; to begin it anew is refused by the run itself.
    if (existsSync(join(run as string, "run.json"))) return path;
    mkdirSync(dirname(path), { recursive: true });
    writeJsonl(path, rows);
    return path;
  });
}
