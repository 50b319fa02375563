import { createHash } from "node:crypto";
import type { Transaction } from "kysely";
import { z } from "zod";
import { messageSchema } from "../data/records.ts";
import { scopes } from "./scopes.ts";
import { answerSchema, projectSettingsSchema, questionSchema } from "./settings.ts";
import type { Schema } from "./tables.ts";

const id = z.string().min(1);
/** The highest first: a role may do everything that those after it may. */
export const roles = ["owner", "reviewer", "labeler"] as const;

/** Whether a role may do everything that another one may. */
export const includesRole = (role: Role, other: Role): boolean => roles.indexOf(role) <= roles.indexOf(other);

/**
 * Returns the role in a project.
 * @param account the account's role: owners of the store are owners of each project
 * @param member the member's; null for one who joined before version 3, where the account's counts
 */
export const effectiveRole = (account: string, member: string | null): Role =>
  (account === "owner" ? account : (member ?? account)) as Role;

/** Schema of a gold task's known answer, which judgements are compared with. */
export const goldSchema = answerSchema.pick({ ranks: true, preference: true });

const completion = z.strictObject({
  id,
  text: z.string(),
  model: z.string().optional(),
  run: z.string().optional(),
  temperature: z.number().optional(),
  seed: z.int().optional(),
});

/** Schema of the events in the log. All tables about users, projects, tasks and judgements are computed from them. */
export const eventSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("user added"), id, name: z.string(), role: z.enum(roles) }),
  z.strictObject({
    type: z.literal("user changed"),
    id,
    role: z.enum(roles).optional(),
    active: z.boolean().optional(),
    skills: z.array(z.string()).optional(),
    cohort: z.record(z.string(), z.string()).optional(),
  }),
  z.strictObject({ type: z.literal("invited"), role: z.enum(roles), project: id.optional() }),
  /** Adds a member, or changes their role. Without a role, as before version 3, the account's role counts. */
  z.strictObject({ type: z.literal("joined"), project: id, user: id, role: z.enum(roles).optional() }),
  /** Since version 3. */
  z.strictObject({ type: z.literal("left"), project: id, user: id }),
  z.strictObject({ type: z.literal("password link made"), user: id }),
  z.strictObject({ type: z.literal("password changed"), user: id }),
  /** Since version 4. A token's id is no secret. */
  z.strictObject({
    type: z.literal("token made"),
    id,
    user: id,
    name: z.string(),
    scopes: z.array(z.enum(scopes)),
    project: id.optional(),
  }),
  /** Since version 4. Tokens of a closed account are revoked without an event. */
  z.strictObject({ type: z.literal("token revoked"), id, user: id }),
  z.strictObject({ type: z.literal("project added"), id, name: z.string(), settings: projectSettingsSchema }),
  z.strictObject({ type: z.literal("project changed"), id, settings: projectSettingsSchema }),
  /** Since version 4, as all events of imports and withdrawn tasks are. */
  z.strictObject({ type: z.literal("project renamed"), id, name: z.string() }),
  z.strictObject({ type: z.literal("project archived"), id }),
  z.strictObject({ type: z.literal("project reopened"), id }),
  /** Comes before the tasks and judgements of the file. */
  z.strictObject({ type: z.literal("imported"), project: id, id, source: z.string() }),
  z.strictObject({ type: z.literal("import withdrawn"), project: id, id }),
  z.strictObject({ type: z.literal("import restored"), project: id, id }),
  z.strictObject({ type: z.literal("task withdrawn"), project: id, task: id }),
  z.strictObject({ type: z.literal("task restored"), project: id, task: id }),
  z.strictObject({
    type: z.literal("guidelines published"),
    project: id,
    version: z.int(),
    text: z.string(),
    questions: z.array(questionSchema),
  }),
  z.strictObject({
    type: z.literal("qualified"),
    project: id,
    user: id,
    version: z.int(),
    correct: z.int(),
    total: z.int(),
    passed: z.boolean(),
  }),
  z.strictObject({
    type: z.literal("task added"),
    project: id,
    task: id,
    place: z.int(),
    prompt: id,
    messages: z.array(messageSchema),
    completions: z.array(completion),
    source: z.string().optional(),
    skill: z.string().optional(),
    gold: goldSchema.optional(),
    wanted: z.int(),
    import: id.optional(),
  }),
  z.strictObject({
    type: z.literal("judged"),
    id,
    project: id,
    task: id,
    labeler: id,
    version: z.int(),
    answer: answerSchema,
    order: z.array(z.int()),
    seed: z.int(),
    seconds: z.number(),
    repeat: z.boolean(),
    revises: id.optional(),
    source: z.string().optional(),
    import: id.optional(),
    /** How many judgements the task needs, decided when this one is recorded. Since version 2. */
    wanted: z.int(),
  }),
  z.strictObject({ type: z.literal("adjudicated"), project: id, task: id, user: id, answer: answerSchema }),
]);
export type LabelEvent = z.infer<typeof eventSchema>;
type JudgedEvent = LabelEvent & { type: "judged" };
/** An event before `LabelStore.record`, which adds `wanted` to a judgement. */
export type NewEvent = Exclude<LabelEvent, JudgedEvent> | Omit<JudgedEvent, "wanted">;
export type Role = (typeof roles)[number];

/** Hashes an event with the hash of the event before it. Events of version 1 have no version in their hash. */
export function eventHash(
  previousHash: string,
  { at, actor, data, version }: { at: number; actor: string | null; data: string; version: number },
): string {
  const content = [previousHash, at, actor, data, ...(version > 1 ? [version] : [])];
  return createHash("sha256").update(JSON.stringify(content)).digest("hex");
}

type Tx = Transaction<Schema>;

/** Applies an event to the tables that are computed from the log. It is deterministic: `verify` replays the log. */
export async function applyEvent(tx: Tx, event: LabelEvent, at: number): Promise<void> {
  switch (event.type) {
    case "user added":
      return addUser(tx, event, at);
    case "user changed":
      return changeUser(tx, event);
    // Their tokens and hashes are secrets, which `accounts.ts` and `tokens.ts` write to tables of their own.
    case "invited":
    case "password link made":
    case "password changed":
    case "token made":
    case "token revoked":
      return;
    case "joined":
      return addMember(tx, event);
    case "left":
      return removeMember(tx, event);
    case "project added":
      return addProject(tx, event, at);
    case "project changed":
      return changeProject(tx, event.id, { settings: JSON.stringify(event.settings) });
    case "project renamed":
      return changeProject(tx, event.id, { name: event.name });
    case "project archived":
    case "project reopened":
      return changeProject(tx, event.id, { archived: Number(event.type === "project archived") });
    case "guidelines published":
      return publishGuidelines(tx, event, at);
    case "qualified":
      return qualify(tx, event, at);
    case "imported":
      return addImport(tx, event, at);
    case "import withdrawn":
    case "import restored":
      return setImportWithdrawn(tx, event.id, event.type === "import withdrawn");
    case "task added":
      return addTask(tx, event);
    case "task withdrawn":
    case "task restored":
      return setTaskWithdrawn(tx, event.task, event.type === "task withdrawn");
    case "judged":
      return insertJudgement(tx, event, at);
    case "adjudicated":
      return adjudicate(tx, event, at);
    default:
      throw new Error(`there is no event "${(event as { type: string }).type}"`);
  }
}

type EventOf<Type extends LabelEvent["type"]> = LabelEvent & { type: Type };

async function addUser(tx: Tx, { type: _, ...user }: EventOf<"user added">, at: number): Promise<void> {
  await tx
    .insertInto("user")
    .values({ ...user, skills: "[]", cohort: "{}", active: 1, since: at })
    .execute();
}

async function removeMember(tx: Tx, { project, user }: EventOf<"left">): Promise<void> {
  await tx.deleteFrom("member").where("project", "=", project).where("user", "=", user).execute();
}

async function addProject(
  tx: Tx,
  { id, name, settings }: EventOf<"project added">,
  at: number,
): Promise<void> {
  await tx
    .insertInto("project")
    .values({ id, name, settings: JSON.stringify(settings), guidelines: 0, at, archived: 0 })
    .execute();
}

async function publishGuidelines(
  tx: Tx,
  { project, version, text, questions }: EventOf<"guidelines published">,
  at: number,
): Promise<void> {
  await tx
    .insertInto("guidelines")
    .values({ project, version, text: JSON.stringify(text), questions: JSON.stringify(questions), at })
    .execute();
  await changeProject(tx, project, { guidelines: version });
}

async function qualify(
  tx: Tx,
  { type: _, passed, ...rest }: EventOf<"qualified">,
  at: number,
): Promise<void> {
  const row = { ...rest, passed: Number(passed), at };
  await tx
    .insertInto("qualification")
    .values(row)
    .onConflict((conflict) => conflict.columns(["project", "user", "version"]).doUpdateSet(row))
    .execute();
}

async function addImport(tx: Tx, { type: _, ...row }: EventOf<"imported">, at: number): Promise<void> {
  await tx
    .insertInto("import")
    .values({ ...row, at, withdrawn: 0 })
    .execute();
}

async function adjudicate(
  tx: Tx,
  { type: _, answer, ...rest }: EventOf<"adjudicated">,
  at: number,
): Promise<void> {
  const row = { ...rest, answer: JSON.stringify(answer), at };
  await tx
    .insertInto("adjudication")
    .values(row)
    .onConflict((conflict) => conflict.column("task").doUpdateSet(row))
    .execute();
}

async function setTaskWithdrawn(tx: Tx, id: string, isWithdrawn: boolean): Promise<void> {
  await tx
    .updateTable("task")
    .set({ withdrawn: Number(isWithdrawn) })
    .where("id", "=", id)
    .execute();
}

async function changeProject(tx: Tx, id: string, change: Partial<Schema["project"]>): Promise<void> {
  await tx.updateTable("project").set(change).where("id", "=", id).execute();
}

/** Withdraws or restores the tasks that an import added, and its judgements, also those of other tasks. */
async function setImportWithdrawn(tx: Tx, id: string, isWithdrawn: boolean): Promise<void> {
  const withdrawn = Number(isWithdrawn);
  await tx.updateTable("import").set({ withdrawn }).where("id", "=", id).execute();
  await tx.updateTable("task").set({ withdrawn }).where("import", "=", id).execute();
  const judgements = await tx
    .selectFrom("judgement")
    .select(["id", "task", "revises"])
    .where("import", "=", id)
    .execute();
  const revised = new Set(judgements.map(({ revises }) => revises));
  for (const judgement of judgements)
    await tx
      .updateTable("judgement")
      .set({ current: Number(!isWithdrawn && !revised.has(judgement.id)) })
      .where("id", "=", judgement.id)
      .execute();
  for (const task of new Set(judgements.map(({ task }) => task))) await countJudgements(tx, task);
}

async function changeUser(tx: Tx, event: EventOf<"user changed">): Promise<void> {
  const { id, role, active, skills, cohort } = event;
  const change = {
    ...(role && { role }),
    ...(active !== undefined && { active: Number(active) }),
    ...(skills && { skills: JSON.stringify(skills) }),
    ...(cohort && { cohort: JSON.stringify(cohort) }),
  };
  if (Object.keys(change).length) await tx.updateTable("user").set(change).where("id", "=", id).execute();
}

async function addMember(tx: Tx, event: EventOf<"joined">): Promise<void> {
  const { project, user, role = null } = event;
  await tx
    .insertInto("member")
    .values({ project, user, role })
    .onConflict((conflict) => conflict.columns(["project", "user"]).doUpdateSet({ role }))
    .execute();
}

async function addTask(tx: Tx, event: EventOf<"task added">): Promise<void> {
  const { project, task, place, prompt, skill, gold, source, wanted } = event;
  await tx
    .insertInto("prompt")
    .values({
      id: prompt,
      project,
      messages: JSON.stringify(event.messages),
      skill: skill ?? null,
      source: source ?? null,
    })
    .execute();
  const completions = event.completions.map(({ id, text, model, run, temperature, seed }, place) => ({
    id,
    prompt,
    place,
    text: JSON.stringify(text),
    model: model ?? null,
    run: run ?? null,
    temperature: temperature ?? null,
    seed: seed ?? null,
  }));
  if (completions.length) await tx.insertInto("completion").values(completions).execute();
  await tx
    .insertInto("task")
    .values({
      id: task,
      project,
      prompt,
      place,
      skill: skill ?? null,
      wanted,
      done: 0,
      complete: 0,
      gold: gold ? JSON.stringify(gold) : null,
      withdrawn: 0,
      import: event.import ?? null,
    })
    .execute();
}

async function insertJudgement(tx: Tx, event: JudgedEvent, at: number): Promise<void> {
  const { type: _, answer, order, repeat, revises, source, wanted, ...rest } = event;
  if (revises !== undefined)
    await tx.updateTable("judgement").set({ current: 0 }).where("id", "=", revises).execute();
  await tx
    .insertInto("judgement")
    .values({
      ...rest,
      answer: JSON.stringify(answer),
      order: JSON.stringify(order),
      repeat: Number(repeat),
      revises: revises ?? null,
      current: 1,
      source: source ?? null,
      import: event.import ?? null,
      at,
    })
    .execute();
  if (!repeat) await countJudgements(tx, event.task, wanted);
}

/** Counts a task's judgements, unless its answer is known. @param wanted how many it needs now. Default: as many as before */
async function countJudgements(tx: Tx, id: string, wanted?: number): Promise<void> {
  const judgements = await tx
    .selectFrom("judgement")
    .select("answer")
    .where("task", "=", id)
    .where("current", "=", 1)
    .where("repeat", "=", 0)
    .execute();
  // A skipped task still needs a judgement, from another labeler.
  const done = judgements.filter(({ answer }) => JSON.parse(answer).skip === undefined).length;
  const needed =
    wanted ??
    (await tx.selectFrom("task").select("wanted").where("id", "=", id).executeTakeFirstOrThrow()).wanted;
  const { numUpdatedRows } = await tx
    .updateTable("task")
    .set({ done, wanted: needed, complete: Number(done >= needed) })
    .where("id", "=", id)
    .where("gold", "is", null)
    .executeTakeFirstOrThrow();
  // A damaged log may have judgements of a task that is not there.
  if (!numUpdatedRows)
    await tx.selectFrom("task").select("id").where("id", "=", id).executeTakeFirstOrThrow();
}
