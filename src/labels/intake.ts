import type { Row } from "../data/jsonl.ts";
import { type DataReport, readDrafts } from "../data/readers.ts";
import type { NewTask, Project } from "./records.ts";
import type { LabelStore } from "./store.ts";

export type Intake = Pick<DataReport, "format" | "rows" | "kept" | "dropped">;

/**
 * Makes tasks of a file's records: of comparisons, of prompts with completions, and for demonstrations of prompts alone.
 * What the file says of who is better is kept as the known answer with `gold`, else left out.
 * @param name of the file, for messages @throws InputError when its rows are of no format known
 */
export async function importTasks(
  store: LabelStore,
  actor: string | null,
  project: Project,
  { name, rows, gold }: { name: string; rows: Row[]; gold: boolean },
): Promise<Intake> {
  const { drafts, report } = readDrafts(name, rows);
  const { kind } = project.settings;
  const dropped = { ...report.dropped };
  const drop = (reason: string) => {
    dropped[reason] = (dropped[reason] ?? 0) + 1;
  };
  const seen = new Set(await fingerprints(store, project.id));
  const tasks: NewTask[] = [];
  for (const { prompt: messages, completions: texts, ranks } of drafts) {
    const completions = kind === "demonstration" ? texts.slice(0, 1) : texts;
    const task: NewTask = {
      ...{ messages, source: name },
      completions: completions.map((text) => ({ text })),
      ...(gold && ranks && { gold: goldOf(kind, ranks) }),
    };
    const print = fingerprint(messages, completions);
    if (seen.has(print)) drop("in the project already");
    else if (kind === "pairwise" && completions.length !== 2) drop("not two completions");
    else if (kind === "ranking" && completions.length < 2) drop("fewer than two completions");
    else if (kind !== "demonstration" && !completions.length) drop("no completion");
    else if (completions.length > 9) drop("more than nine completions");
    else if (gold && !task.gold) drop("no known answer");
    else {
      seen.add(print);
      tasks.push(task);
    }
  }
  if (tasks.length) await store.addTasks(actor, project, tasks);
  return { format: report.format, rows: report.rows, kept: tasks.length, dropped };
}

function goldOf(kind: Project["settings"]["kind"], ranks: readonly number[]): NewTask["gold"] {
  if (kind === "pairwise") return { preference: (ranks[0] as number) < (ranks[1] as number) ? 1 : 8 };
  const sorted = [...new Set(ranks)].sort((a, b) => a - b);
  return kind === "ranking" ? { ranks: ranks.map((rank) => sorted.indexOf(rank) + 1) } : undefined;
}

/** Equal for the same completions to the same prompt, in whatever order. */
const fingerprint = (messages: unknown, completions: readonly string[]): string =>
  JSON.stringify([messages, [...completions].sort()]);

async function fingerprints(store: LabelStore, project: string): Promise<string[]> {
  const prompts = await store.db
    .selectFrom("prompt")
    .select(["id", "messages"])
    .where("project", "=", project)
    .execute();
  const completions = await store.db
    .selectFrom("completion")
    .innerJoin("prompt", "prompt.id", "completion.prompt")
    .select(["completion.prompt", "completion.text"])
    .where("prompt.project", "=", project)
    .execute();
  const texts = new Map<string, string[]>();
  for (const { prompt, text } of completions)
    texts.set(prompt, [...(texts.get(prompt) ?? []), JSON.parse(text)]);
  return prompts.map(({ id, messages }) => fingerprint(JSON.parse(messages), texts.get(id) ?? []));
}
