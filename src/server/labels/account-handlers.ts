import type { FastifyRequest } from "fastify";
import { InputError } from "../../data/errors.ts";
import {
  changePassword,
  claimInvitation,
  closeSession,
  createPasswordReset,
  openSession,
  readInvitation,
  readPasswordReset,
  resetPassword,
  signIn,
} from "../../labels/accounts.ts";
import type { User } from "../../labels/records.ts";
import { createToken, listTokens, revokeToken } from "../../labels/tokens.ts";
import { type Handlers, linkTo, type RequestContext, refuseSelf, sessionCookie } from "./context.ts";

type AccountRoute =
  | "GET /api/me"
  | "POST /api/login"
  | "POST /api/logout"
  | "GET /api/invitations/:token"
  | "POST /api/claim"
  | "POST /api/password"
  | "GET /api/tokens"
  | "GET /api/tokens/all"
  | "POST /api/tokens"
  | "DELETE /api/tokens/:id"
  | "POST /api/users/:user/reset"
  | "GET /api/resets/:token"
  | "POST /api/reset"
  | "GET /api/users"
  | "PATCH /api/users/:user";

/** Handlers of the routes about accounts: see `handlers`. */
export const accountHandlers: Pick<Handlers, AccountRoute> = {
  "GET /api/me": ["anyone", "any token", ({ user }) => ({ user: user ?? null })],
  "POST /api/login": [
    "anyone",
    "no token",
    async (context) =>
      startSession(context, await signIn(context.store, context.body.name, context.body.password)),
  ],
  "POST /api/logout": [
    "anyone",
    "no token",
    async ({ store, request, reply }) => {
      const token = request.cookies[sessionCookie];
      if (token !== undefined) await closeSession(store, token);
      reply.clearCookie(sessionCookie, { path: cookiePath(request) });
      return {};
    },
  ],
  "GET /api/invitations/:token": [
    "anyone",
    "no token",
    async ({ store, params }) => {
      const { role, project } = await readInvitation(store, params.token);
      return { role, project: project === null ? null : (await store.project(project)).name };
    },
  ],
  "POST /api/claim": [
    "anyone",
    "no token",
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
    "no token",
    async ({ store, user, body, request }) => {
      await changePassword(store, user.id, body, request.cookies[sessionCookie]);
      return {};
    },
  ],
  "GET /api/tokens": ["labeler", "no token", ({ store, user }) => listTokens(store, user.id)],
  "GET /api/tokens/all": ["owner", "no token", ({ store }) => listTokens(store)],
  "POST /api/tokens": [
    "labeler",
    "no token",
    ({ store, user, body }) => createToken(store, user, { ...body, project: body.project ?? null }),
  ],
  "DELETE /api/tokens/:id": [
    "labeler",
    "no token",
    async ({ store, user, params }) => {
      await revokeToken(store, user, params.id);
      return {};
    },
  ],
  "POST /api/users/:user/reset": [
    "owner",
    "no token",
    async ({ store, user, params, request }) => {
      const { token, expires } = await createPasswordReset(store, user.id, params.user);
      return { link: linkTo(request, `/reset/${token}`), expires };
    },
  ],
  "GET /api/resets/:token": [
    "anyone",
    "no token",
    async ({ store, params }) => ({ name: (await readPasswordReset(store, params.token)).name }),
  ],
  "POST /api/reset": [
    "anyone",
    "no token",
    async (context) =>
      startSession(context, await resetPassword(context.store, context.body.token, context.body.password)),
  ],
  "GET /api/users": ["owner", "read", ({ store }) => store.users()],
  "PATCH /api/users/:user": [
    "owner",
    "manage",
    ({ store, user, params, body }) => {
      if (body.active === false || (body.role && body.role !== "owner")) refuseSelf(user, params.user);
      return store.changeUser(user.id, params.user, body);
    },
  ],
};

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
