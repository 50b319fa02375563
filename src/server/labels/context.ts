import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import type { Role } from "../../labels/events.ts";
import type { Project, User } from "../../labels/records.ts";
import type { Scope } from "../../labels/scopes.ts";
import { type LabelStore, RequestError } from "../../labels/store.ts";
import type { TokenRights } from "../../labels/tokens.ts";
import type { Reply, Routes } from "./contract.ts";
import type { StatisticsWorker } from "./statistics-worker.ts";

/** Context of a route handler: parsed params and body, the signed-in user, the store. */
export interface RequestContext<K extends keyof Routes> {
  store: LabelStore;
  statistics: StatisticsWorker;
  /** The signed-in user. In a handler for "anyone" it may be undefined. */
  user: User;
  /** Their role in the route's project; in a route without a project that of their account. Undefined as `user` is. */
  role: Role;
  /** The project that the route is about; also by a lease or judgement. */
  project: K extends `${string} /api/${"projects/:project" | "leases/:lease" | "judgements/:judgement"}${string}`
    ? Project
    : undefined;
  /** Rights of the token that the request was sent with; undefined for a session. */
  token: TokenRights | undefined;
  params: ParsedPart<K, "params">;
  body: ParsedPart<K, "body">;
  request: FastifyRequest;
  reply: FastifyReply;
}
/** Type of a request's params or body after its schema has parsed it. */
type ParsedPart<K extends keyof Routes, Part extends string> =
  Routes[K] extends Record<Part, infer S extends z.ZodType> ? z.output<S> : undefined;

/** Who may call a route: anyone, or users with this role or a higher one in its project, else in their account. */
export type Access = "anyone" | Role;
/** Which tokens a route takes: none (it needs a session, or nobody), all, or those with this scope. */
export type TokenAccess = "no token" | "any token" | Scope;
/** A handler for each route of the contract. A token needs both: its user's role, and the scope. */
export type Handlers = {
  [K in keyof Routes]: [
    access: Access,
    tokenAccess: TokenAccess,
    handle: (context: RequestContext<K>) => Promise<Reply<K>> | Reply<K>,
  ];
};

export const sessionCookie = "plumbline";

/** Keeps owners from locking themselves out. */
export function refuseSelf(user: User, changed: string): void {
  if (user.id === changed)
    throw new RequestError(409, "an owner cannot step down alone: another owner can do that");
}

/** Returns the address of a page of the label app. The prefix of the routes is the server's base path. */
export const linkTo = ({ protocol, host, server }: FastifyRequest, path: string): string =>
  `${protocol}://${host}${server.prefix}${path}`;
