import type { FastifyReply, FastifyRequest } from "fastify";
import type { z } from "zod";
import type { Role } from "../../labels/events.ts";
import type { User } from "../../labels/records.ts";
import type { LabelStore } from "../../labels/store.ts";
import type { Reply, Routes } from "./contract.ts";
import type { StatisticsWorker } from "./statistics-worker.ts";

/** What a handler is given: what the contract lets a request say, and who says it. */
export interface RequestContext<K extends keyof Routes> {
  store: LabelStore;
  statistics: StatisticsWorker;
  user: User;
  params: ParsedPart<K, "params">;
  body: ParsedPart<K, "body">;
  request: FastifyRequest;
  reply: FastifyReply;
}
type ParsedPart<K extends keyof Routes, Part extends string> =
  Routes[K] extends Record<Part, infer S extends z.ZodType> ? z.output<S> : undefined;

/** Who may ask: anyone at all, or whoever is signed in with this role or a higher one. */
export type Access = "anyone" | Role;
export type Handlers = {
  [K in keyof Routes]: [access: Access, handle: (ask: RequestContext<K>) => Promise<Reply<K>> | Reply<K>];
};

export const sessionCookie = "plumbline";
