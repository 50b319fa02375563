import { isCorrect, promptExcerpt } from "./judgements.ts";
import { pairwisePreferences } from "./pairwise-preferences.ts";
import type { Project } from "./records.ts";
import { parseAnswer } from "./settings.ts";
import { type LabelStore, RequestError } from "./store.ts";

/** Judgements on a page of a labeler's history. */
const perPage = 20;

/** Reads a task with all of its judgements, oldest first, and its decision. @throws RequestError (404) if there is no such task */
export async function taskHistory(store: LabelStore, project: Project, task: string) {
  const row = await store.db
    .selectFrom("task")
    .select(["gold", "withdrawn"])
    .where("id", "=", task)
    .where("project", "=", project.id)
    .executeTakeFirst();
  if (!row) throw new RequestError(404, "there is no such task");
  const decision = await store.db
    .selectFrom("adjudication")
    .innerJoin("user", "user.id", "adjudication.user")
    .select(["user.name", "adjudication.answer", "adjudication.at"])
    .where("task", "=", task)
    .executeTakeFirst();
  // Revised judgements included: the page marks them.
  const judgements = await selectJudgements(store, project)
    .where("judgement.task", "=", task)
    .orderBy("judgement.at")
    .orderBy("judgement.id")
    .execute();
  const { messages, completions } = await store.taskContent(task);
  return {
    task,
    withdrawn: row.withdrawn === 1,
    messages,
    completions: completions.map(({ text, model }) => ({ text, model })),
    judgements: judgements.map(toHistoryEntry),
    ...(row.gold !== null && { known: parseAnswer(row.gold) }),
    ...(decision && { decision: { ...decision, answer: parseAnswer(decision.answer) } }),
  };
}

/**
 * Reads a page of a labeler's judgements, each with an excerpt of its prompt; page 0 has the newest.
 * @returns `total`: number of judgements on all pages
 */
export async function labelerJudgements(store: LabelStore, project: Project, labeler: string, page: number) {
  const query = selectJudgements(store, project)
    .where("judgement.current", "=", 1)
    .where("task.withdrawn", "=", 0)
    .where("judgement.labeler", "=", labeler);
  const { total } = await query
    .clearSelect()
    .select(({ fn }) => fn.countAll<number>().as("total"))
    .executeTakeFirstOrThrow();
  const rows = await query
    .orderBy("judgement.at", "desc")
    .orderBy("judgement.id", "desc")
    .limit(perPage)
    .offset(page * perPage)
    .execute();
  const judgements = await Promise.all(
    rows.map(async (row) => {
      const { messages } = await store.taskContent(row.task);
      return {
        ...toHistoryEntry(row),
        task: row.task,
        prompt: promptExcerpt(messages),
        ...(row.gold !== null && { known: parseAnswer(row.gold) }),
      };
    }),
  );
  return { total: Number(total), perPage, judgements };
}

const selectJudgements = (store: LabelStore, { id }: Project) =>
  store.db
    .selectFrom("judgement")
    .innerJoin("task", "task.id", "judgement.task")
    .innerJoin("user", "user.id", "judgement.labeler")
    .leftJoin("import", "import.id", "judgement.import")
    .where((when) => when.or([when("import.id", "is", null), when("import.withdrawn", "=", 0)]))
    .select(["judgement.id", "judgement.task", "judgement.labeler", "user.name", "judgement.answer"])
    .select(["judgement.seconds", "judgement.at", "judgement.repeat", "judgement.current", "task.gold"])
    .where("judgement.project", "=", id);

type Row = Awaited<ReturnType<ReturnType<typeof selectJudgements>["execute"]>>[number];

/** Converts a row. A judgement of a gold task says whether it is `right`. */
function toHistoryEntry({ id, labeler, name, seconds, at, repeat, current, gold, ...row }: Row) {
  const answer = parseAnswer(row.answer);
  return {
    id,
    labeler,
    name,
    answer,
    seconds,
    at,
    repeat: repeat === 1,
    revised: current === 0,
    ...(gold !== null &&
      answer.skip === undefined && {
        right: isCorrect({ answer, gold: parseAnswer(gold), preferences: pairwisePreferences(answer) }),
      }),
  };
}
