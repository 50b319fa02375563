import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { writeJsonl } from "../data/jsonl.ts";
import type { StageEntry } from "../stages/about.ts";

/** Adds `labels`, `project` and `unweighted` to a stage's inputs, and makes `data` optional: the data may come from a label store. */
export const withLabelInputs = ({ data, ...inputs }: z.ZodRawShape): z.ZodRawShape => ({
  ...inputs,
  ...(data && { data: z.optional(data).describe(z.globalRegistry.get(data)?.description ?? "") }),
  labels: z
    .string()
    .optional()
    .describe("label store to read instead of a file: an SQLite file or a Postgres address"),
  project: z.string().optional().describe("its project, by name or id; not needed if there is only one"),
  unweighted: z
    .boolean()
    .optional()
    .describe("count the judgements of all labelers equally, not by their reliability"),
});

const labelOptions = z.looseObject({
  labels: z.string().optional(),
  project: z.string().optional(),
  unweighted: z.boolean().default(false),
});

/**
 * Calls `body` with a stage's settings. If they name a label store, its comparisons are written to a file first, which
 * becomes the setting `data`.
 * @param run run directory; without it the file is temporary
 * @throws InputError unless exactly one of a file and a label store is given
 */
export async function withData(
  stage: StageEntry,
  settings: Record<string, unknown>,
  run: string | undefined,
  resume: boolean,
  body: (settings: Record<string, unknown>) => Promise<void>,
): Promise<void> {
  if (!stage.takesLabels) return body(settings);
  const { labels, project, unweighted, ...rest } = labelOptions.parse(settings);
  if ((rest.data === undefined) === (labels === undefined))
    throw new InputError(
      `${stage.name}: give either --data, a file of comparisons, or --labels, a label store`,
    );
  if (labels === undefined && unweighted)
    throw new InputError(`${stage.name}: --unweighted is about the labels of --labels, a label store`);
  if (labels === undefined) return body(rest);
  const source = { labels, project, unweighted };
  if (run !== undefined) return body({ ...rest, data: await writeSnapshot(source, run, resume) });
  const folder = mkdtempSync(join(tmpdir(), "plumbline-"));
  try {
    const data = join(folder, "labels.jsonl");
    await writeComparisons(source, data);
    await body({ ...rest, data });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Writes a project's comparisons to a file next to the run directory. A resumed run uses the same file, so that labels
 * added since do not change its data.
 * @returns path of the file
 */
async function writeSnapshot(source: LabelSource, run: string, resume: boolean): Promise<string> {
  const path = `${run}.labels.jsonl`;
  // An existing run keeps its labels. Without --resume opening its directory fails later.
  if (existsSync(path) && (resume || existsSync(join(run, "run.json")))) return path;
  await writeComparisons(source, path);
  return path;
}

interface LabelSource {
  labels: string;
  /** Name or id of the project. */
  project: string | undefined;
  unweighted: boolean;
}

/** Writes a project's comparisons to `path`. @throws InputError when there are none */
async function writeComparisons(
  { labels, project: name, unweighted }: LabelSource,
  path: string,
): Promise<void> {
  // Imported here because the database drivers of the store load slowly, and most trainings read a file.
  const [{ collect, exportRows }, { describeUncounted }, { withStore }] = await Promise.all([
    import("../labels/export.ts"),
    import("../labels/uncounted.ts"),
    import("./store.ts"),
  ]);
  await withStore(labels, async (store, find) => {
    const project = await find(name);
    const rows = await collect(exportRows(store, project, "rankings", { margins: true }));
    if (!rows.length) throw new InputError(`"${project.name}": nobody has compared anything yet`);
    if (!unweighted)
      for (const sentence of await describeUncounted(store, project)) console.error(`warning: ${sentence}`);
    mkdirSync(dirname(path), { recursive: true });
    writeJsonl(path, unweighted ? rows.map((row) => ({ ...row, weight: 1 })) : rows);
  });
}
