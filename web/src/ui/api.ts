import type { Body, Params, Reply, Routes } from "../../../src/server/labels/contract.ts";

export type { Body };

/** Path that all of the server's addresses begin with, such as "/labels"; "" for none. The server puts it into the page. */
export const basePath: string = document.getElementById("app")?.dataset.basePath ?? "";

/** An error response of the server, with its message. Status 0: the server could not be reached. */
export class ApiError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

type RequestOptions<K extends keyof Routes> = ([Params<K>] extends [never]
  ? { params?: never }
  : { params: Params<K> }) &
  ([Body<K>] extends [never] ? { body?: never } : { body: Body<K> }) & { keepalive?: boolean };

/** Sends a request of the contract. @throws ApiError if the server answers with an error or cannot be reached */
export async function call<K extends keyof Routes>(
  route: K,
  ...[options]: [Params<K>, Body<K>] extends [never, never]
    ? [options?: { keepalive?: boolean }]
    : [options: RequestOptions<K>]
): Promise<Reply<K>> {
  const {
    params = {},
    body,
    keepalive = false,
  } = (options ?? {}) as {
    params?: Record<string, string>;
    body?: unknown;
    keepalive?: boolean;
  };
  const [method, pattern] = route.split(" ") as [string, string];
  const path = pattern.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] as string));
  const hasBody = method !== "GET";
  const reply = await fetch(basePath + path, {
    method,
    keepalive,
    // Protects against cross-site requests: pages of other sites cannot send this header.
    ...(hasBody && {
      headers: { "content-type": "application/json", "x-plumbline": "1" },
      body: JSON.stringify(body ?? {}),
    }),
  }).catch(() => {
    throw new ApiError(0, "The server cannot be reached. Nothing is lost: try again.");
  });
  const answer = await reply.json().catch(() => ({ error: `the server answered ${reply.status}` }));
  if (!reply.ok) throw new ApiError(reply.status, answer.error);
  return answer;
}

export type Project = Reply<"GET /api/projects/:project">;
export type User = Reply<"POST /api/login">;
export type Role = User["role"];
export type Member = Reply<"GET /api/projects/:project/members">[number];
export type Token = Reply<"GET /api/tokens">[number];
export type Assignment = NonNullable<Reply<"POST /api/projects/:project/next">["assignment"]>;
/** An answer to send. */
export type Answer = Body<"POST /api/leases/:lease/judgement">["answer"];
/** A stored answer, of a person or of a model. */
export type StoredAnswer = TaskHistory["judgements"][number]["answer"];
export type ImportPreview = Reply<"POST /api/projects/:project/import/preview">;
export type ImportedFile = Reply<"GET /api/projects/:project/imports">[number];
export type Settings = Project["settings"];
export type Quality = Reply<"GET /api/projects/:project/quality">;
export type Labeler = Reply<"GET /api/projects/:project/labelers">[number];
export type Dispute = Reply<"GET /api/projects/:project/disputes">[number];
export type Guidelines = Reply<"GET /api/projects/:project/guidelines">;
export type TaskHistory = Reply<"GET /api/projects/:project/tasks/:task">;
