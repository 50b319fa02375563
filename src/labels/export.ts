import { InputError } from "../data/errors.ts";
import type { Message } from "../data/records.ts";
import type { ExportFormat } from "./export-formats.ts";
import { counted, groupBy, type Judged, judgements } from "./judged.ts";
import type { Project } from "./records.ts";
import { type Answer, answerSchema } from "./settings.ts";
import type { LabelStore } from "./store.ts";
import { labelerWeights } from "./weights.ts";

/** The project by its id or its name. @throws InputError when there is none, or several */
export async function findProject(store: LabelStore, wanted: string | undefined): Promise<Project> {
  const all = await store.projects();
  const list = all.map(({ name }) => `"${name}"`).join(", ") || "none";
  if (wanted === undefined) {
    const [only, another] = all;
    if (!only || another) throw new InputError(`name the project (--project): this store has ${list}`);
    return only;
  }
  const found = all.filter(({ id, name }) => id === wanted || name === wanted);
  if (found.length > 1)
    throw new InputError(
      `several projects are called "${wanted}": name one by its id (${found.map(({ id }) => id).join(", ")})`,
    );
  const [project] = found;
  if (!project) throw new InputError(`there is no project "${wanted}"; this store has ${list}`);
  return project;
}

/** A project's labels as rows of a format; all of the store's log for "log". */
export async function* exportRows(
  store: LabelStore,
  project: Project,
  format: ExportFormat,
): AsyncGenerator<Record<string, unknown>> {
  if (format === "log") {
    yield* store.db.selectFrom("event").selectAll().orderBy("seq").stream();
    return;
  }
  const all = await judgements(store, project.id);
  const weights = labelerWeights(all);
  const weighted = all.map((one) => ({ ...one, weight: weights.get(one.labeler) ?? 1 }));
  const names = new Map((await store.users()).map(({ id, name }) => [id, name]));
  for (const one of format === "judgements" ? weighted : await toLearn(store, project, weighted)) {
    const { messages, completions } = await store.content(one.task);
    const texts = completions.map(({ text }) => text);
    const { answer, labeler, weight, task, id, order, seconds, at, repeat, gold } = one;
    const provenance = {
      ...{ labeler: names.get(labeler) ?? labeler, weight, task, judgement: id },
      models: completions.map(({ model }) => model),
    };
    if (format === "judgements") {
      const said = { answer, order, seconds, at, repeat, gold: gold ?? null };
      yield { prompt: messages, completions: texts, ...provenance, ...said };
    } else if (format === "prompt-completion") {
      if (answer.text !== undefined) yield { prompt: messages, completion: answer.text, ...provenance };
    } else yield* comparisonRows(messages, texts, answer, format, provenance);
  }
}

type Weighted = Judged & { weight: number };

/** Judgements to learn from: of a task that was decided the decision alone, of weight 1. */
async function toLearn(store: LabelStore, project: Project, all: readonly Weighted[]): Promise<Weighted[]> {
  const decisions = await store.db
    .selectFrom("adjudication")
    .selectAll()
    .where("project", "=", project.id)
    .execute();
  const decided = new Map(decisions.map((one) => [one.task, one]));
  return [...groupBy(counted(all), ({ task }) => task)].flatMap(([task, said]) => {
    const decision = decided.get(task);
    const [first] = said as [Weighted];
    if (!decision) return said;
    const answer = answerSchema.parse(JSON.parse(decision.answer));
    return [{ ...first, id: task, labeler: decision.user, answer, at: decision.at, weight: 1 }];
  });
}

function* comparisonRows(
  prompt: Message[],
  completions: string[],
  answer: Answer,
  format: "rankings" | "preference",
  provenance: object,
): Generator<Record<string, unknown>> {
  const { preference, bothBad } = answer;
  if (bothBad || (preference === undefined && !answer.ranks)) return;
  const ranks = answer.ranks ?? ((preference as number) < 5 ? [1, 2] : [2, 1]);
  // 1 to 4: slightly to much better.
  const strength = preference === undefined ? {} : { strength: Math.ceil(Math.abs(preference - 4.5)) };
  if (new Set(ranks).size < 2) return;
  if (format === "rankings") {
    yield { prompt, completions, ranks, ...strength, ...provenance };
    return;
  }
  const reply = (content: string | undefined) => [{ role: "assistant", content }];
  for (const [i, better] of ranks.entries())
    for (const [j, worse] of ranks.entries())
      if (better < worse)
        yield {
          prompt,
          chosen: reply(completions[i]),
          rejected: reply(completions[j]),
          ...strength,
          ...provenance,
        };
}
