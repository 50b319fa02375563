import { z } from "zod";
import { messageSchema } from "../../data/records.ts";
import { roles } from "../../labels/events.ts";
import { exportFormats } from "../../labels/export-formats.ts";
import { scopes } from "../../labels/scopes.ts";
import { answerSchema, projectSettingsSchema, questionSchema } from "../../labels/settings.ts";
import {
  importedFileSchema,
  importPreviewSchema,
  importReportSchema,
  importSchema,
  labelerSchema,
  qualitySchema,
  userSchema,
} from "./schemas.ts";

// Contract between the web app and the server. The server validates requests by these schemas and generates its OpenAPI
// document from them; the web app imports their types.

/** Text without NUL, which Postgres cannot store. */
const textWithoutNul = z.string().refine((text) => !text.includes("\0"), "it has an invalid character (NUL)");
const id = textWithoutNul;
const name = textWithoutNul.trim().min(1).max(100);
const password = z.string().min(10, "at least 10 characters").max(1000);

export const projectSchema = z.object({
  id,
  name: z.string(),
  /** Labelers get them without `goldRate`, `repeatRate` and `price`. */
  settings: projectSettingsSchema.extend({
    goldRate: z.number().optional(),
    repeatRate: z.number().optional(),
    price: z.number().optional(),
  }),
  guidelines: z.number(),
  /** Takes no more tasks, and gives none to labelers. */
  archived: z.boolean(),
  /** The signed-in user's role in the project. */
  role: z.enum(roles),
  /** Number of tasks (without gold), and of those that have all their judgements. */
  tasks: z.number(),
  complete: z.number(),
  /** Number of judgements of the signed-in user. */
  mine: z.number(),
});

/** An answer as people send it. Soft labels are of AI judges alone. */
const sentAnswerSchema = answerSchema
  .omit({ probability: true })
  .extend({ comment: z.string().max(20_000).optional() });

/** A draft: whatever the web app saves of an answer, up to the size of the longest demonstration. */
const draftSchema = z
  .unknown()
  .refine((draft) => (JSON.stringify(draft) ?? "").length <= 2_500_000, "the draft is too long");

export const memberSchema = userSchema
  .pick({ id: true, name: true, active: true })
  /** The role in the project. */
  .extend({ role: z.enum(roles) });

/** An API token as it is listed, without the token itself. */
const tokenSchema = z.object({
  id,
  user: z.object({ id, name: z.string() }),
  name: z.string(),
  scopes: z.array(z.enum(scopes)),
  /** The only project that it may be used for; null for all of its user's. */
  project: z.object({ id, name: z.string() }).nullable(),
  created: z.number(),
  lastUsed: z.number().nullable(),
  expires: z.number(),
});

/** A task that is leased to a labeler. */
export const assignmentSchema = z.object({
  lease: id,
  task: id,
  messages: z.array(messageSchema),
  completions: z.array(z.string()),
  draft: z.unknown(),
  /** Seconds until the lease expires. A duration, because the clocks of browser and server may differ. */
  secondsLeft: z.number(),
});

export const errorSchema = z.object({ error: z.string() });

const judgementSchema = z.object({
  id,
  labeler: id,
  name: z.string(),
  answer: answerSchema,
  seconds: z.number(),
  at: z.number(),
});

/** A judgement as reviewers see it. */
const reviewedJudgementSchema = judgementSchema.extend({
  /** The labeler was given the task a second time. */
  repeat: z.boolean(),
  /** The labeler has replaced it by another judgement. */
  revised: z.boolean(),
  /** Whether it agrees with the known answer of a gold task. */
  right: z.boolean().optional(),
});

/** A task with all of its judgements, for reviewers. */
const judgedTaskSchema = z.object({
  task: id,
  messages: z.array(messageSchema),
  completions: z.array(z.object({ text: z.string(), model: z.string().nullable() })),
  judgements: z.array(judgementSchema),
});

const projectParams = z.object({ project: id });

/** Schemas of the params, body and response of each route. */
export const routes = {
  "GET /api/me": { response: z.object({ user: userSchema.nullable() }) },
  "POST /api/login": { body: z.object({ name, password: z.string() }), response: userSchema },
  "POST /api/logout": { response: z.object({}) },
  "GET /api/invitations/:token": {
    params: z.object({ token: z.string() }),
    response: z.object({ role: z.enum(roles), project: z.string().nullable() }),
  },
  /** Claims an invitation: creates an account and signs in, or adds the signed-in user to the project. */
  "POST /api/claim": {
    body: z.object({ token: z.string(), name: name.optional(), password: password.optional() }),
    response: userSchema,
  },
  /** Changes the password and ends the user's other sessions. */
  "POST /api/password": {
    body: z.object({ before: z.string(), after: password }),
    response: z.object({}),
  },
  /** The user's API tokens. */
  "GET /api/tokens": { response: z.array(tokenSchema) },
  /** Everybody's, for owners of the store. */
  "GET /api/tokens/all": { response: z.array(tokenSchema) },
  /** Creates an API token. The response has the token, which cannot be read again. */
  "POST /api/tokens": {
    body: z.object({
      name,
      scopes: z.array(z.enum(scopes)).min(1),
      /** Days until it expires. */
      days: z.int().min(1).max(365).default(90),
      /** Id of the only project that it may be used for. Default: all of the user's. */
      project: id.optional(),
    }),
    response: z.object({ token: z.string(), expires: z.number() }),
  },
  /** Revokes a token of the user; owners of the store revoke anybody's. */
  "DELETE /api/tokens/:id": { params: z.object({ id }), response: z.object({}) },
  /** Creates a link for a user who has forgotten the password. */
  "POST /api/users/:user/reset": {
    params: z.object({ user: id }),
    response: z.object({ link: z.string(), expires: z.number() }),
  },
  "GET /api/resets/:token": {
    params: z.object({ token: z.string() }),
    response: z.object({ name: z.string() }),
  },
  /** Sets a new password by such a link, and signs in. */
  "POST /api/reset": { body: z.object({ token: z.string(), password }), response: userSchema },
  /** All accounts, for owners of the store. */
  "GET /api/users": { response: z.array(userSchema) },
  "PATCH /api/users/:user": {
    params: z.object({ user: id }),
    body: z.object({
      role: z.enum(roles).optional(),
      active: z.boolean().optional(),
      skills: z.array(name).max(50).optional(),
      cohort: z.record(name, name).optional(),
    }),
    response: userSchema,
  },
  /** The projects that the user is a member of; all for owners of the store. */
  "GET /api/projects": { response: z.array(projectSchema) },
  "POST /api/projects": {
    body: z.object({ name, settings: projectSettingsSchema }),
    response: projectSchema,
  },
  "GET /api/projects/:project": { params: projectParams, response: projectSchema },
  "PATCH /api/projects/:project": {
    params: projectParams,
    body: z.object({
      name: name.optional(),
      archived: z.boolean().optional(),
      settings: projectSettingsSchema.optional(),
    }),
    response: projectSchema,
  },
  /** The newest guidelines. Only owners get the correct answers, to edit them. */
  "GET /api/projects/:project/guidelines": {
    params: projectParams,
    response: z.object({
      version: z.number(),
      text: z.string(),
      questions: z.array(
        z.object({ question: z.string(), options: z.array(z.string()), correct: z.int().optional() }),
      ),
      passed: z.boolean(),
    }),
  },
  "POST /api/projects/:project/guidelines": {
    params: projectParams,
    body: z.object({ text: z.string().min(1).max(200_000), questions: z.array(questionSchema).max(50) }),
    response: z.object({ version: z.number() }),
  },
  "POST /api/projects/:project/qualification": {
    params: projectParams,
    body: z.object({ answers: z.array(z.int()) }),
    response: z.object({
      passed: z.boolean(),
      /** Number of right answers; labelers get it only if they pass. */
      correct: z.number().optional(),
      total: z.number(),
      /** Share of right answers that is needed. */
      passMark: z.number(),
      /** Further attempts within 24 hours. */
      attemptsLeft: z.number(),
    }),
  },
  "POST /api/projects/:project/import": {
    params: projectParams,
    body: importSchema,
    response: importReportSchema,
  },
  /** Reads a file as an import would, and stores nothing. */
  "POST /api/projects/:project/import/preview": {
    params: projectParams,
    body: importSchema,
    response: importPreviewSchema,
  },
  "GET /api/projects/:project/imports": { params: projectParams, response: z.array(importedFileSchema) },
  /** Withdraws what an import added, tasks and judgements, or restores it. */
  "PATCH /api/projects/:project/imports/:import": {
    params: projectParams.extend({ import: id }),
    body: z.object({ withdrawn: z.boolean() }),
    response: z.object({}),
  },
  "POST /api/projects/:project/invitations": {
    params: projectParams,
    body: z.object({ role: z.enum(roles) }),
    response: z.object({ link: z.string(), expires: z.number() }),
  },
  /** The open invitations to a project. `id` is the beginning of the token's hash, `by` the name of who made it. */
  "GET /api/projects/:project/invitations": {
    params: projectParams,
    response: z.array(z.object({ id, role: z.enum(roles), expires: z.number(), by: z.string().nullable() })),
  },
  "DELETE /api/projects/:project/invitations/:invitation": {
    params: projectParams.extend({ invitation: z.string().regex(/^[0-9a-f]{16}$/) }),
    response: z.object({}),
  },
  "GET /api/projects/:project/members": { params: projectParams, response: z.array(memberSchema) },
  /** Changes a member's role in the project. */
  "PATCH /api/projects/:project/members/:user": {
    params: projectParams.extend({ user: id }),
    body: z.object({ role: z.enum(roles) }),
    response: z.object({}),
  },
  /** Removes a member from the project and ends their leases. Their judgements stay. */
  "DELETE /api/projects/:project/members/:user": {
    params: projectParams.extend({ user: id }),
    response: z.object({}),
  },
  "POST /api/projects/:project/next": {
    params: projectParams,
    /** `exclude`: tasks that the client already has, when it prefetches the next task. */
    body: z.object({ exclude: z.array(id).max(3).default([]) }),
    response: z.object({ assignment: assignmentSchema.nullable() }),
  },
  "PUT /api/leases/:lease/draft": {
    params: z.object({ lease: id }),
    body: z.object({ draft: draftSchema }),
    response: z.object({}),
  },
  "POST /api/leases/:lease/judgement": {
    params: z.object({ lease: id }),
    body: z.object({ answer: sentAnswerSchema, seconds: z.number().min(0).max(1e6) }),
    response: z.object({ id }),
  },
  /** The user's last judgement in the order that was shown, to be revised. */
  "GET /api/projects/:project/last": {
    params: projectParams,
    response: z.object({
      last: z
        .object({
          id,
          task: id,
          messages: z.array(messageSchema),
          completions: z.array(z.string()),
          answer: answerSchema,
        })
        .nullable(),
    }),
  },
  "POST /api/judgements/:judgement/revision": {
    params: z.object({ judgement: id }),
    body: z.object({ answer: sentAnswerSchema, seconds: z.number().min(0).max(1e6) }),
    response: z.object({ id }),
  },
  "GET /api/projects/:project/quality": { params: projectParams, response: qualitySchema },
  "GET /api/projects/:project/labelers": { params: projectParams, response: z.array(labelerSchema) },
  /** A page of a labeler's judgements, newest first. */
  "GET /api/projects/:project/labelers/:labeler/judgements/:page": {
    params: projectParams.extend({ labeler: id, page: z.string().regex(/^\d{1,9}$/) }),
    response: z.object({
      total: z.number(),
      perPage: z.number(),
      judgements: z.array(
        reviewedJudgementSchema.extend({ task: id, prompt: z.string(), known: answerSchema.optional() }),
      ),
    }),
  },
  "GET /api/projects/:project/tasks/:task": {
    params: projectParams.extend({ task: id }),
    response: judgedTaskSchema.extend({
      withdrawn: z.boolean(),
      judgements: z.array(reviewedJudgementSchema),
      known: answerSchema.optional(),
      decision: z.object({ name: z.string(), answer: answerSchema, at: z.number() }).optional(),
    }),
  },
  /** Withdraws a task, or restores it. */
  "PATCH /api/projects/:project/tasks/:task": {
    params: projectParams.extend({ task: id }),
    body: z.object({ withdrawn: z.boolean() }),
    response: z.object({}),
  },
  /** Tasks that labelers disagree about and no reviewer has decided. */
  "GET /api/projects/:project/disputes": { params: projectParams, response: z.array(judgedTaskSchema) },
  /** How many rows an export has in each format, and how many tasks the format cannot hold, by reason. */
  "GET /api/projects/:project/exports": {
    params: projectParams,
    response: z.array(
      z.object({
        format: z.enum(exportFormats),
        rows: z.number(),
        dropped: z.record(z.string(), z.number()),
      }),
    ),
  },
  "POST /api/projects/:project/adjudications": {
    params: projectParams,
    body: z.object({ task: id, answer: sentAnswerSchema }),
    response: z.object({}),
  },
} as const;

export type Routes = typeof routes;
type Part<R, K extends string> = R extends Record<K, z.ZodType> ? R[K] : never;
export type Params<K extends keyof Routes> = z.input<Part<Routes[K], "params">>;
export type Body<K extends keyof Routes> = z.input<Part<Routes[K], "body">>;
export type Reply<K extends keyof Routes> = z.output<Part<Routes[K], "response">>;
