import type { FastifyRequest } from "fastify";
import { InputError } from "../../data/errors.ts";
import { readDrafts } from "../../data/readers.ts";
import { parseRows } from "../../data/tables.ts";
import {
  changePassword,
  claimInvitation,
  closeSession,
  createInvitation,
  createPasswordReset,
  listInvitations,
  openSession,
  readInvitation,
  readPasswordReset,
  resetPassword,
  revokeInvitation,
  signIn,
} from "../../labels/accounts.ts";
import type { Role } from "../../labels/events.ts";
import { labelerJudgements, taskHistory } from "../../labels/history.ts";
import { importTasks } from "../../labels/import.ts";
import { listImports, setImportWithdrawn, setTaskWithdrawn } from "../../labels/imports.ts";
import {
  adjudicate,
  lastJudgement,
  nextTask,
  projectProgress,
  reviseJudgement,
  saveDraft,
  submitJudgement,
} from "../../labels/labeling.ts";
import { changeMember, listMembers, removeMember } from "../../labels/members.ts";
import { previewImport } from "../../labels/preview.ts";
import { renameProject, setArchived } from "../../labels/projects.ts";
import type { Project, User } from "../../labels/records.ts";
import { type LabelStore, RequestError } from "../../labels/store.ts";
import { type Handlers, type RequestContext, sessionCookie } from "./context.ts";
import type { Reply } from "./contract.ts";

/** Access level and handler of each route of the contract. */
export const handlers: Handlers = {
  "GET /api/me": ["anyone", ({ user }) => ({ user: user ?? null })],
  "POST /api/login": [
    "anyone",
    async (context) =>
      startSession(context, await signIn(context.store, context.body.name, context.body.password)),
  ],
  "POST /api/logout": [
    "anyone",
    async ({ store, request, reply }) => {
      const token = request.cookies[sessionCookie];
      if (token !== undefined) await closeSession(store, token);
      reply.clearCookie(sessionCookie, { path: cookiePath(request) });
      return {};
    },
  ],
  "GET /api/invitations/:token": [
    "anyone",
    async ({ store, params }) => {
      const { role, project } = await readInvitation(store, params.token);
      return { role, project: project === null ? null : (await store.project(project)).name };
    },
  ],
  "POST /api/claim": [
    "anyone",
    async (context) => {
      const { store, user, body } = context;
      const { token, name, password } = body;
      if (name !== undefined && password !== undefined)
        return startSession(context, await claimInvitation(store, token, { name, password }));
      if (!user) throw new InputError("name and password: choose them, or sign in first");
      return claimInvitation(store, token, user);
    },
  ],
  "POST /api/password": [
    "labeler",
    async ({ store, user, body, request }) => {
      await changePassword(store, user.id, body, request.cookies[sessionCookie]);
      return {};
    },
  ],
  "POST /api/users/:user/reset": [
    "owner",
    async ({ store, user, params, request }) => {
      const { token, expires } = await createPasswordReset(store, user.id, params.user);
      return { link: linkTo(request, `/reset/${token}`), expires };
    },
  ],
  "GET /api/resets/:token": [
    "anyone",
    async ({ store, params }) => ({ name: (await readPasswordReset(store, params.token)).name }),
  ],
  "POST /api/reset": [
    "anyone",
    async (context) =>
      startSession(context, await resetPassword(context.store, context.body.token, context.body.password)),
  ],
  "GET /api/users": ["owner", ({ store }) => store.users()],
  "PATCH /api/users/:user": [
    "owner",
    ({ store, user, params, body }) => {
      if (body.active === false || (body.role && body.role !== "owner")) refuseSelf(user, params.user);
      return store.changeUser(user.id, params.user, body);
    },
  ],
  "GET /api/projects": [
    "labeler",
    async ({ store, user }) => {
      const replies = (await store.projects()).map(async (project) => {
        const role = await store.roleIn(project.id, user);
        return role && toProjectReply(store, project, user, role);
      });
      return (await Promise.all(replies)).filter((reply) => reply !== undefined);
    },
  ],
  "POST /api/projects": [
    "owner",
    async ({ store, user, role, body }) =>
      toProjectReply(store, await store.addProject(user.id, body), user, role),
  ],
  "GET /api/projects/:project": [
    "labeler",
    async ({ store, user, role, params }) =>
      toProjectReply(store, await store.project(params.project), user, role),
  ],
  "PATCH /api/projects/:project": [
    "owner",
    async ({ store, user, role, params, body: { name, archived, settings } }) => {
      const id = params.project;
      if (settings) await store.changeProject(user.id, id, settings);
      if (name !== undefined) await renameProject(store, user.id, id, name);
      if (archived !== undefined) await setArchived(store, user.id, id, archived);
      return toProjectReply(store, await store.project(id), user, role);
    },
  ],
  "GET /api/projects/:project/guidelines": [
    "labeler",
    async ({ store, user, role, params }) => {
      const project = await store.project(params.project);
      const guidelines = await store.guidelines(project);
      return {
        version: guidelines?.version ?? 0,
        text: guidelines?.text ?? "",
        questions: (guidelines?.questions ?? []).map(({ correct, ...question }) => ({
          ...question,
          ...(role === "owner" && { correct }),
        })),
        passed: await store.hasQualified(project, user.id),
      };
    },
  ],
  "POST /api/projects/:project/guidelines": [
    "owner",
    async ({ store, user, params, body }) => {
      await store.publishGuidelines(user.id, params.project, body);
      return { version: (await store.project(params.project)).guidelines };
    },
  ],
  "POST /api/projects/:project/qualification": [
    "labeler",
    async ({ store, user, params, body }) =>
      store.submitQualification(await store.project(params.project), user.id, body.answers),
  ],
  "POST /api/projects/:project/import": [
    "owner",
    async ({ store, user, params, body }) => {
      const { name, columns, use } = body;
      const project = await store.project(params.project);
      const rows = await parseRows(name, fileBytes(body), columns);
      return importTasks(store, user.id, project, readDrafts(name, rows), use);
    },
  ],
  "POST /api/projects/:project/import/preview": [
    "owner",
    async ({ store, params, body }) => {
      const { name, columns, use } = body;
      const project = await store.project(params.project);
      return previewImport(store, project, { name, bytes: fileBytes(body), columns, use });
    },
  ],
  "GET /api/projects/:project/imports": ["owner", ({ store, params }) => listImports(store, params.project)],
  "PATCH /api/projects/:project/imports/:import": [
    "owner",
    async ({ store, user, params, body }) => {
      await setImportWithdrawn(store, user.id, params.project, params.import, body.withdrawn);
      return {};
    },
  ],
  "POST /api/projects/:project/invitations": [
    "owner",
    async ({ store, user, params, body, request }) => {
      const project = await store.project(params.project);
      const { token, expires } = await createInvitation(store, user.id, body.role, project.id);
      return { link: linkTo(request, `/claim/${token}`), expires };
    },
  ],
  "GET /api/projects/:project/invitations": [
    "owner",
    ({ store, params }) => listInvitations(store, params.project),
  ],
  "DELETE /api/projects/:project/invitations/:invitation": [
    "owner",
    async ({ store, params }) => {
      await revokeInvitation(store, params.project, params.invitation);
      return {};
    },
  ],
  "GET /api/projects/:project/members": ["owner", ({ store, params }) => listMembers(store, params.project)],
  "PATCH /api/projects/:project/members/:user": [
    "owner",
    async ({ store, user, params, body }) => {
      refuseSelf(user, params.user);
      await changeMember(store, user.id, params.project, params.user, body.role);
      return {};
    },
  ],
  "DELETE /api/projects/:project/members/:user": [
    "owner",
    async ({ store, user, params }) => {
      refuseSelf(user, params.user);
      await removeMember(store, user.id, params.project, params.user);
      return {};
    },
  ],
  "POST /api/projects/:project/next": [
    "labeler",
    async ({ store, user, params, body }) => {
      const next = await nextTask(store, await store.project(params.project), user, body.exclude);
      if (!next) return { assignment: null };
      const { expires, ...assignment } = next;
      return { assignment: { ...assignment, secondsLeft: (expires - store.now()) / 1000 } };
    },
  ],
  "PUT /api/leases/:lease/draft": [
    "labeler",
    async ({ store, user, params, body }) => {
      await saveDraft(store, params.lease, user.id, body.draft ?? null);
      return {};
    },
  ],
  "POST /api/leases/:lease/judgement": [
    "labeler",
    async ({ store, user, params, body }) => ({
      id: await submitJudgement(store, params.lease, user.id, body.answer, body.seconds),
    }),
  ],
  "GET /api/projects/:project/last": [
    "labeler",
    async ({ store, user, params }) => ({
      last: (await lastJudgement(store, params.project, user.id)) ?? null,
    }),
  ],
  "POST /api/judgements/:judgement/revision": [
    "labeler",
    async ({ store, user, params, body }) => ({
      id: await reviseJudgement(store, params.judgement, user.id, body.answer, body.seconds),
    }),
  ],
  "GET /api/projects/:project/quality": [
    "reviewer",
    async ({ store, statistics: aside, params }) =>
      aside.compute("quality", await store.project(params.project)),
  ],
  "GET /api/projects/:project/labelers": [
    "reviewer",
    async ({ store, statistics: aside, params }) =>
      aside.compute("labelers", await store.project(params.project)),
  ],
  "GET /api/projects/:project/labelers/:labeler/judgements/:page": [
    "reviewer",
    async ({ store, params: { project, labeler, page } }) =>
      labelerJudgements(store, await store.project(project), labeler, Number(page)),
  ],
  "GET /api/projects/:project/tasks/:task": [
    "reviewer",
    async ({ store, params }) => taskHistory(store, await store.project(params.project), params.task),
  ],
  "PATCH /api/projects/:project/tasks/:task": [
    "owner",
    async ({ store, user, params, body }) => {
      await setTaskWithdrawn(store, user.id, params.project, params.task, body.withdrawn);
      return {};
    },
  ],
  "GET /api/projects/:project/disputes": [
    "reviewer",
    async ({ store, statistics: aside, params }) =>
      aside.compute("disputes", await store.project(params.project)),
  ],
  "POST /api/projects/:project/adjudications": [
    "reviewer",
    async ({ store, user, params, body }) => {
      await adjudicate(store, await store.project(params.project), user.id, body.task, body.answer);
      return {};
    },
  ],
};

/** Decodes the contents of a file to import. */
function fileBytes({ text, base64 }: { text?: string | undefined; base64?: string | undefined }): Buffer {
  if ((text === undefined) === (base64 === undefined))
    throw new InputError("text, base64: give exactly one of the two");
  return text === undefined ? Buffer.from(base64 as string, "base64") : Buffer.from(text);
}

/** Keeps owners from locking themselves out. */
function refuseSelf(user: User, changed: string): void {
  if (user.id === changed)
    throw new RequestError(409, "an owner cannot step down alone: another owner can do that");
}

// The prefix of the routes is the server's base path.
const linkTo = ({ protocol, host, server }: FastifyRequest, path: string): string =>
  `${protocol}://${host}${server.prefix}${path}`;
const cookiePath = ({ server }: FastifyRequest): string => server.prefix || "/";

/** Opens a session: sets a cookie that scripts cannot read and pages of other sites cannot send. */
async function startSession(
  { store, request, reply }: RequestContext<"POST /api/login" | "POST /api/claim" | "POST /api/reset">,
  user: User,
) {
  const { token, expires } = await openSession(store, user.id);
  reply.setCookie(sessionCookie, token, {
    path: cookiePath(request),
    httpOnly: true,
    sameSite: "strict",
    secure: request.protocol === "https",
    expires: new Date(expires),
  });
  return user;
}

/** Adds the user's role in the project, its progress, and the user's own count of judgements. */
async function toProjectReply(
  store: LabelStore,
  project: Project,
  user: User,
  role: Role,
): Promise<Reply<"GET /api/projects/:project">> {
  const { at: _, ...fields } = project;
  return { ...fields, role, ...(await projectProgress(store, project.id, user.id)) };
}
