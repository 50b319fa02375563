import { InputError } from "../../data/errors.ts";
import { unpack } from "../../data/jsonl.ts";
import { readDrafts } from "../../data/readers.ts";
import { parseRows } from "../../data/tables.ts";
import { createInvitation, listInvitations, revokeInvitation } from "../../labels/accounts.ts";
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
import { hasQualified, submitQualification } from "../../labels/qualification.ts";
import type { Project, User } from "../../labels/records.ts";
import type { LabelStore } from "../../labels/store.ts";
import { accountHandlers } from "./account-handlers.ts";
import { type Handlers, linkTo, type RequestContext, refuseSelf } from "./context.ts";
import type { Reply } from "./contract.ts";

/** Most bytes that a gzipped import may unpack to: as many as one may have that is not gzipped. */
const maxUnpacked = 256 * 2 ** 20;

/** Access level, token access and handler of each route of the contract. */
export const handlers: Handlers = {
  ...accountHandlers,
  "GET /api/projects": [
    "labeler",
    "any token",
    async ({ store, user, token }) => {
      const replies = (await store.projects()).map(async (project) => {
        if (token?.project && token.project !== project.id) return undefined;
        const role = await store.roleIn(project.id, user);
        return role && toProjectReply(store, project, user, role);
      });
      return (await Promise.all(replies)).filter((reply) => reply !== undefined);
    },
  ],
  "POST /api/projects": [
    "owner",
    "manage",
    async ({ store, user, role, body }) =>
      toProjectReply(store, await store.addProject(user.id, body), user, role),
  ],
  "GET /api/projects/:project": [
    "labeler",
    "any token",
    async ({ store, user, project, role }) => toProjectReply(store, project, user, role),
  ],
  "PATCH /api/projects/:project": [
    "owner",
    "manage",
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
    "read",
    async ({ store, user, project, role }) => {
      const guidelines = await store.guidelines(project);
      return {
        version: guidelines?.version ?? 0,
        text: guidelines?.text ?? "",
        questions: (guidelines?.questions ?? []).map(({ correct, ...question }) => ({
          ...question,
          ...(role === "owner" && { correct }),
        })),
        passed: await hasQualified(store, project, user.id),
      };
    },
  ],
  "POST /api/projects/:project/guidelines": [
    "owner",
    "manage",
    async ({ store, user, params, body }) => {
      await store.publishGuidelines(user.id, params.project, body);
      return { version: (await store.project(params.project)).guidelines };
    },
  ],
  "POST /api/projects/:project/qualification": [
    "labeler",
    "label",
    async ({ store, user, project, role, body }) => {
      const { correct, ...result } = await submitQualification(store, project, user.id, body.answers);
      // Labelers who fail could find the answers by changing one at a time.
      const isCountShown = result.passed || role !== "labeler";
      return { ...result, passMark: project.settings.passMark, ...(isCountShown && { correct }) };
    },
  ],
  "POST /api/projects/:project/import": [
    "owner",
    "import",
    async ({ store, user, project, body }) => {
      const { name, columns, use, limit } = body;
      const rows = await parseRows(name, fileBytes(body), columns);
      return importTasks(store, user.id, project, readDrafts(name, rows.slice(0, limit)), use);
    },
  ],
  "POST /api/projects/:project/import/preview": [
    "owner",
    "import",
    async ({ store, project, body }) => {
      const { name, columns, use } = body;
      return previewImport(store, project, { name, bytes: fileBytes(body), columns, use });
    },
  ],
  "GET /api/projects/:project/imports": [
    "owner",
    "read",
    ({ store, params }) => listImports(store, params.project),
  ],
  "PATCH /api/projects/:project/imports/:import": [
    "owner",
    "manage",
    async ({ store, user, params, body }) => {
      await setImportWithdrawn(store, user.id, params.project, params.import, body.withdrawn);
      return {};
    },
  ],
  "POST /api/projects/:project/invitations": [
    "owner",
    "manage",
    async ({ store, user, project, body, request }) => {
      const { token, expires } = await createInvitation(store, user.id, body.role, project.id);
      return { link: linkTo(request, `/claim/${token}`), expires };
    },
  ],
  "GET /api/projects/:project/invitations": [
    "owner",
    "read",
    ({ store, params }) => listInvitations(store, params.project),
  ],
  "DELETE /api/projects/:project/invitations/:invitation": [
    "owner",
    "manage",
    async ({ store, params }) => {
      await revokeInvitation(store, params.project, params.invitation);
      return {};
    },
  ],
  "GET /api/projects/:project/members": [
    "owner",
    "read",
    ({ store, params }) => listMembers(store, params.project),
  ],
  "PATCH /api/projects/:project/members/:user": [
    "owner",
    "manage",
    async ({ store, user, params, body }) => {
      refuseSelf(user, params.user);
      await changeMember(store, user.id, params.project, params.user, body.role);
      return {};
    },
  ],
  "DELETE /api/projects/:project/members/:user": [
    "owner",
    "manage",
    async ({ store, user, params }) => {
      refuseSelf(user, params.user);
      await removeMember(store, user.id, params.project, params.user);
      return {};
    },
  ],
  "POST /api/projects/:project/next": [
    "labeler",
    "label",
    async ({ store, user, project, body }) => {
      const next = await nextTask(store, project, user, body.exclude);
      if (!next) return { assignment: null };
      const { expires, ...assignment } = next;
      return { assignment: { ...assignment, secondsLeft: (expires - store.now()) / 1000 } };
    },
  ],
  "PUT /api/leases/:lease/draft": [
    "labeler",
    "label",
    async ({ store, user, params, body }) => {
      await saveDraft(store, params.lease, user.id, body.draft ?? null);
      return {};
    },
  ],
  "POST /api/leases/:lease/judgement": [
    "labeler",
    "label",
    async ({ store, user, params, body }) => ({
      id: await submitJudgement(store, params.lease, user.id, body.answer, body.seconds),
    }),
  ],
  "GET /api/projects/:project/last": [
    "labeler",
    "label",
    async ({ store, user, params }) => ({
      last: (await lastJudgement(store, params.project, user.id)) ?? null,
    }),
  ],
  "POST /api/judgements/:judgement/revision": [
    "labeler",
    "label",
    async ({ store, user, params, body }) => ({
      id: await reviseJudgement(store, params.judgement, user.id, body.answer, body.seconds),
    }),
  ],
  "GET /api/projects/:project/quality": [
    "reviewer",
    "read",
    ({ project, statistics }) => statistics.compute("quality", project),
  ],
  "GET /api/projects/:project/labelers": [
    "reviewer",
    "read",
    ({ project, statistics }) => statistics.compute("labelers", project),
  ],
  "GET /api/projects/:project/labelers/:labeler/judgements/:page": [
    "reviewer",
    "read",
    async ({ store, project, params: { labeler, page } }) =>
      labelerJudgements(store, project, labeler, Number(page)),
  ],
  "GET /api/projects/:project/tasks/:task": [
    "reviewer",
    "read",
    async ({ store, project, params }) => taskHistory(store, project, params.task),
  ],
  "PATCH /api/projects/:project/tasks/:task": [
    "owner",
    "manage",
    async ({ store, user, params, body }) => {
      await setTaskWithdrawn(store, user.id, params.project, params.task, body.withdrawn);
      return {};
    },
  ],
  "GET /api/projects/:project/disputes": [
    "reviewer",
    "read",
    ({ project, statistics }) => statistics.compute("disputes", project),
  ],
  "GET /api/projects/:project/exports": [
    "reviewer",
    "read",
    ({ project, statistics }) => statistics.compute("exports", project),
  ],
  "POST /api/projects/:project/adjudications": [
    "reviewer",
    "manage",
    async ({ store, user, project, body }) => {
      await adjudicate(store, project, user.id, body.task, body.answer);
      return {};
    },
  ],
};

/** Decodes and unpacks the contents of a file to import. */
function fileBytes({
  name,
  text,
  base64,
}: RequestContext<"POST /api/projects/:project/import">["body"]): Buffer {
  if ((text === undefined) === (base64 === undefined))
    throw new InputError("text, base64: give exactly one of the two");
  const bytes = text === undefined ? Buffer.from(base64 as string, "base64") : Buffer.from(text);
  return unpack(name, bytes, maxUnpacked);
}

/**
 * Adds the user's role in the project, its progress, and the user's own count of judgements. Labelers are not told how
 * often they are tested, and what a judgement costs.
 */
async function toProjectReply(
  store: LabelStore,
  project: Project,
  user: User,
  role: Role,
): Promise<Reply<"GET /api/projects/:project">> {
  const { at: _, settings: all, ...fields } = project;
  const { goldRate: _goldRate, repeatRate: _repeatRate, price: _price, ...rest } = all;
  const settings = role === "labeler" ? rest : all;
  return { ...fields, settings, role, ...(await projectProgress(store, project.id, user.id)) };
}
