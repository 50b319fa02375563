import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { writeJsonl } from "../data/jsonl.ts";
import type { StageEntry } from "../stages/about.ts";

/** A stage's inputs where its `data` can also come from a label store. */
export const withLabelInputs = ({ data, ...inputs }: z.ZodRawShape): z.ZodRawShape => ({
  ...inputs,
  ...(data && { data: z.optional(data).describe(z.globalRegistry.get(data)?.description ?? "") }),
  labels: z
    .string()
    .optional()
    .describe("in place of a file: the label store, an SQLite file or a Postgres address"),
  project: z.string().optional().describe("its project, by name or id; not needed where there is one"),
});

const labelOptions = z.looseObject({ labels: z.string().optional(), project: z.string().optional() });

/**
 * Calls `body` with the stage's settings, the comparisons of a label store written to a file as their `data`.
 * @param run the run directory; without it the file is temporary
 * @throws InputError unless one of file and label store is given
 */
export async function withData(
  stage: StageEntry,
  settings: Record<string, unknown>,
  run: string | undefined,
  resume: boolean,
  body: (settings: Record<string, unknown>) => Promise<void>,
): Promise<void> {
  if (!stage.takesLabels) return body(settings);
  const { labels, project, ...rest } = labelOptions.parse(settings);
  if ((rest.data === undefined) === (labels === undefined))
    throw new InputError(
      `${stage.name}: give either --data, a file of comparisons, or --labels, a label store`,
    );
  if (labels === undefined) return body(rest);
  if (run !== undefined) return body({ ...rest, data: await snapshot(labels, project, run, resume) });
  const folder = mkdtempSync(join(tmpdir(), "plumbline-"));
  try {
    const data = join(folder, "labels.jsonl");
    await write(labels, project, data);
    await body({ ...rest, data });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Writes a project's judgements beside the run, and returns the file: a run that is resumed goes on with the same
 * labels, whatever was judged meanwhile.
 */
async function snapshot(
  labels: string,
  project: string | undefined,
  run: string,
  resume: boolean,
): Promise<string> {
  const path = `${run}.labels.jsonl`;
  // A run that is there keeps its labels; to begin it anew is refused by the run itself.
  if (existsSync(path) && (resume || existsSync(join(run, "run.json")))) return path;
  await write(labels, project, path);
  return path;
}

async function write(labels: string, name: string | undefined, path: string): Promise<void> {
  // Imported here because the database drivers of the store load slowly, and most trainings read a file.
  const [{ collect, exportRows }, { withStore }] = await Promise.all([
    import("../labels/export.ts"),
    import("./store.ts"),
  ]);
  await withStore(labels, async (store, find) => {
    const project = await find(name);
    const rows = await collect(exportRows(store, project, "rankings", { margins: true }));
    if (!rows.length) throw new InputError(`"${project.name}": nobody has compared anything yet`);
    mkdirSync(dirname(path), { recursive: true });
    writeJsonl(path, rows);
  });
}
