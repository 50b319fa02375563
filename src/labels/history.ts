import { excerpt, isRight } from "./judgements.ts";
import { verdicts } from "./pairwise-preferences.ts";
import type { Project } from "./records.ts";
import { parseAnswer } from "./settings.ts";
import { type LabelStore, Refusal } from "./store.ts";

/** Judgements of a labeler that are looked through at once. */
const perPage = 20;

/** A task of the project and all that was said of it, in the order of time. @throws Refusal */
export async function taskHistory(store: LabelStore, project: Project, task: string) {
  const row = await store.db
    .selectFrom("task")
    .select("gold")
    .where("id", "=", task)
    .where("project", "=", project.id)
    .executeTakeFirst();
  if (!row) throw new Refusal(404, "there is no such task");
  const decided = await store.db
    .selectFrom("adjudication")
    .innerJoin("user", "user.id", "adjudication.user")
    .select(["user.name", "adjudication.answer", "adjudication.at"])
    .where("task", "=", task)
    .executeTakeFirst();
  // Also those that others took the place of.
  const said = await judgementsIn(store, project)
    .where("judgement.task", "=", task)
    .orderBy("judgement.at")
    .orderBy("judgement.id")
    .execute();
  const { messages, completions } = await store.content(task);
  return {
    task,
    messages,
    completions: completions.map(({ text, model }) => ({ text, model })),
    judgements: said.map(shown),
    ...(row.gold !== null && { known: parseAnswer(row.gold) }),
    ...(decided && { decision: { ...decided, answer: parseAnswer(decided.answer) } }),
  };
}

/** A labeler's judgements with what they are about, a page of them, the newest on page 0; and how many there are, in all and on a page. */
export async function judgementsOf(store: LabelStore, project: Project, labeler: string, page: number) {
  const own = judgementsIn(store, project)
    .where("judgement.current", "=", 1)
    .where("judgement.labeler", "=", labeler);
  const { total } = await own
    .clearSelect()
    .select(({ fn }) => fn.countAll<number>().as("total"))
    .executeTakeFirstOrThrow();
  const rows = await own
    .orderBy("judgement.at", "desc")
    .orderBy("judgement.id", "desc")
    .limit(perPage)
    .offset(page * perPage)
    .execute();
  const judgements = await Promise.all(
    rows.map(async (row) => {
      const { messages } = await store.content(row.task);
      return {
        ...shown(row),
        task: row.task,
        prompt: excerpt(messages),
        ...(row.gold !== null && { known: parseAnswer(row.gold) }),
      };
    }),
  );
  return { total: Number(total), perPage, judgements };
}

const judgementsIn = (store: LabelStore, { id }: Project) =>
  store.db
    .selectFrom("judgement")
    .innerJoin("task", "task.id", "judgement.task")
    .innerJoin("user", "user.id", "judgement.labeler")
    .select(["judgement.id", "judgement.task", "judgement.labeler", "user.name", "judgement.answer"])
    .select(["judgement.seconds", "judgement.at", "judgement.repeat", "judgement.current", "task.gold"])
    .where("judgement.project", "=", id);

type Row = Awaited<ReturnType<ReturnType<typeof judgementsIn>["execute"]>>[number];

/** A judgement; of a known answer, whether it is right. */
function shown({ id, labeler, name, seconds, at, repeat, current, gold, ...row }: Row) {
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
        right: isRight({ answer, gold: parseAnswer(gold), verdicts: verdicts(answer) }),
      }),
  };
}
