import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import type { Role } from "../../labels/events.ts";
import type { User } from "../../labels/records.ts";
import type { LabelStore } from "../../labels/store.ts";
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
/** A handler for each route of the contract. */
export type Handlers = {
  [K in keyof Routes]: [access: Access, handle: (context: RequestContext<K>) => Promise<Reply<K>> | Reply<K>];
};

export const sessionCookie = "plumbline";
