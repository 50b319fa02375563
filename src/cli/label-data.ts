import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { writeJsonl } from "../data/jsonl.ts";
import type { Comparison } from "../data/records.ts";
import { withStore } from "./store.ts";

/** Comparisons as a stage is given them on the command line: a file, or a label store. */
export const labelInputs = {
  data: z.string().optional(),
  labels: z.string().optional(),
  project: z.string().optional(),
};
export const labelHints = {
  labels: "in place of a file: the label store, an SQLite file or a Postgres address",
  project: "its project, by name or id; not needed where there is one",
};

export interface LabelInputs {
  data?: string | undefined;
  labels?: string | undefined;
  project?: string | undefined;
  /** Absent where the training is only estimated. */
  run?: string | undefined;
  resume?: boolean | undefined;
}

/** The stage's settings with the comparisons as its `data`. @throws InputError unless one of both is given */
export async function withLabels<T extends LabelInputs>(stage: string, { labels, project, ...config }: T) {
  if ((config.data === undefined) === (labels === undefined))
    throw new InputError(`${stage}: give either --data, a file of comparisons, or --labels, a label store`);
  return { ...config, data: config.data ?? (await snapshot(labels as string, project, config)) };
}

/**
 * Writes what a project's labelers said beside the run, and names the file: a run that is resumed goes on with the same
 * labels, whatever was said meanwhile. What is only estimated leaves no file.
 */
async function snapshot(
  where: string,
  name: string | undefined,
  { run, resume }: LabelInputs,
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
