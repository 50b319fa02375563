import { Readable } from "node:stream";
import cookie from "@fastify/cookie";
import helmet from "@fastify/helmet";
import rateLimit, { normalizeIP } from "@fastify/rate-limit";
import swagger from "@fastify/swagger";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import {
  hasZodFastifySchemaValidationErrors,
  jsonSchemaTransform,
  serializerCompiler,
  validatorCompiler,
} from "fastify-type-provider-zod";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { encodeRows, encodings } from "../data/tables.ts";
import { sessionUser } from "../labels/accounts.ts";
import { includesRole, type Role } from "../labels/events.ts";
import { collect, exportSomeRows } from "../labels/export.ts";
import { exportFormats } from "../labels/export-formats.ts";
import { type ProjectReference, projectAndRole } from "../labels/members.ts";
import type { Project, User } from "../labels/records.ts";
import { scopes } from "../labels/scopes.ts";
import { type LabelStore, RequestError } from "../labels/store.ts";
import { readToken, type TokenRights, tokenPrefix } from "../labels/tokens.ts";
import { type Access, type RequestContext, sessionCookie, type TokenAccess } from "./labels/context.ts";
import { errorSchema, type Reply, type Routes, routes } from "./labels/contract.ts";
import { handlers } from "./labels/handlers.ts";
import { StatisticsWorker } from "./labels/statistics-worker.ts";
import { addPages } from "./pages.ts";

/** Largest request bodies in bytes. */
const bodyLimits = { any: 8 * 2 ** 20, import: 256 * 2 ** 20 };

/**
 * Builds the HTTP server of a label store: its API and web app. The caller starts it with `listen`.
 * @param trustProxy addresses of proxies whose X-Forwarded-* headers are used, comma separated; false for none
 * @param basePath path that all addresses begin with, such as "/labels"; "" for none
 */
export async function buildApp(
  store: LabelStore,
  { trustProxy = false, basePath = "" }: { trustProxy?: string | false; basePath?: string } = {},
): Promise<FastifyInstance> {
  const app = fastify({ bodyLimit: bodyLimits.any, trustProxy });
  if (!trustProxy) warnOfIgnoredHeaders(app);
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler(sendError);
  const statistics = new StatisticsWorker(store);
  app.addHook("onClose", () => statistics.close());
  await app.register(cookie);
  await app.register(helmet, {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'self'"],
        imgSrc: ["'self'", "data:"],
        objectSrc: ["'none'"],
        baseUri: ["'none'"],
        formAction: ["'self'"],
        frameAncestors: ["'none'"],
      },
    },
  });
  // Requests are limited by user if there is one, because labelers may share an IP address.
  const keyGenerator = async (request: FastifyRequest) =>
    (await findCaller(store, request))?.user.id ?? clientAddress(request);
  await app.register(rateLimit, { max: 1200, timeWindow: "1 minute", keyGenerator });
  await app.register(swagger, {
    openapi: {
      info: { title: "plumbline", version: "1" },
      components: {
        securitySchemes: {
          session: { type: "apiKey", in: "cookie", name: sessionCookie },
          token: {
            type: "http",
            scheme: "bearer",
            bearerFormat: `${tokenPrefix}…`,
            description: `Made on a user's page of tokens, with the scopes ${scopes.join(", ")}.`,
          },
        },
      },
    },
    transform: jsonSchemaTransform,
  });
  await app.register(
    async (api) => {
      for (const key of Object.keys(routes) as (keyof Routes)[]) addRoute(api, store, statistics, key);
      addExportRoute(api, store);
      api.get("/api/openapi.json", { schema: { hide: true } }, () => app.swagger());
    },
    { prefix: basePath },
  );
  await addPages(app, basePath);
  return app;
}

function addRoute<K extends keyof Routes>(
  api: FastifyInstance,
  store: LabelStore,
  statistics: StatisticsWorker,
  key: K,
): void {
  const [method, url] = key.split(" ") as [string, string];
  const { response, ...parts } = routes[key] as { response: z.ZodType; params?: z.ZodType; body?: z.ZodType };
  const [access, tokenAccess, handle] = handlers[key] as unknown as [
    Access,
    TokenAccess,
    (context: RequestContext<K>) => Promise<Reply<K>>,
  ];
  const takesSecret = /login|claim|password|reset/.test(url);
  api.route({
    method,
    url,
    schema: {
      ...parts,
      ...describeAccess(access, tokenAccess),
      response: { 200: response, "4xx": errorSchema },
    },
    ...(/\/import(\/preview)?$/.test(url) && { bodyLimit: bodyLimits.import }),
    // Slows down attempts to guess a password or token.
    ...(takesSecret && {
      config: { rateLimit: { max: 20, timeWindow: "1 minute", keyGenerator: clientAddress } },
    }),
    handler: async (request, reply) => {
      const { user, role, project, token } = await authorise(store, request, access, tokenAccess);
      const { params, body } = request as unknown as Pick<RequestContext<K>, "params" | "body">;
      // Handlers for "anyone" check whether there is a user.
      const caller = { user: user as User, role: role as Role, token };
      const found = project as RequestContext<K>["project"];
      return handle({ store, statistics, ...caller, project: found, params, body, request, reply });
    },
  });
}

/** Describes in the OpenAPI document who may call a route. */
function describeAccess(
  access: Access,
  tokenAccess: TokenAccess,
): { description: string; security: Record<string, string[]>[] } {
  const scope = tokenAccess === "any token" ? "any" : tokenAccess;
  return {
    description: tokenAccess === "no token" ? "Not for tokens." : `Scope of tokens: ${scope}.`,
    security: [
      ...(access === "anyone" ? [{}] : []),
      { session: [] },
      ...(tokenAccess === "no token" ? [] : [{ token: [] }]),
    ],
  };
}

/** Who sends a request: a user, by a session or by a token. */
interface Caller {
  user: User;
  /** Undefined for a session. */
  token?: TokenRights;
}

/** Callers of the requests that were looked up. */
const callers = new WeakMap<FastifyRequest, Promise<Caller | undefined>>();

/** Returns the caller of a request, who is looked up once; undefined without a valid session or token. */
function findCaller(store: LabelStore, request: FastifyRequest): Promise<Caller | undefined> {
  const caller = callers.get(request) ?? readCaller(store, request);
  callers.set(request, caller);
  return caller;
}

async function readCaller(store: LabelStore, request: FastifyRequest): Promise<Caller | undefined> {
  const token = tokenOf(request);
  if (token !== undefined) return readToken(store, token);
  const session = request.cookies[sessionCookie];
  const user = session === undefined ? undefined : await sessionUser(store, session);
  return user && { user };
}

/** Returns a request's token; undefined if it has none. Other credentials, such as those for a proxy, are ignored. */
const tokenOf = ({ headers }: FastifyRequest): string | undefined =>
  new RegExp(`^Bearer +(${tokenPrefix}.*)$`, "i").exec(headers.authorization ?? "")?.[1];

/** Returns the client's IPv4 address, or the /64 network of its IPv6 address, all of which may be the client's. */
const clientAddress = ({ ip }: FastifyRequest): string => normalizeIP(ip);

/** Who sends a request, the project that it is about, and their role in it; without a project that of their account. */
interface Authorisation extends Partial<Caller> {
  project?: Project;
  role?: Role | undefined;
}

/**
 * Checks that a request's caller may use a route. Its project is also that of a lease or judgement.
 * @throws RequestError if the route needs a session or the token is wrong (401), it is not for them or needs another scope
 * (403), or they are no member (404)
 */
async function authorise(
  store: LabelStore,
  request: FastifyRequest,
  access: Access,
  tokenAccess: TokenAccess,
): Promise<Authorisation> {
  const caller = await findCaller(store, request);
  if (!caller && tokenOf(request) !== undefined)
    throw new RequestError(401, "this token is wrong, revoked or expired: make another one in the label app");
  const { token } = caller ?? {};
  if (token) checkScope(token, tokenAccess);
  // No page can make a browser send a token.
  else if (request.method !== "GET") refuseCrossSite(request);
  const about = (request.params ?? {}) as ProjectReference;
  const found = caller && (await projectAndRole(store, about, caller.user));
  const project = found?.project.id ?? about.project;
  // Routes for any token answer for its project alone.
  if (token?.project && token.project !== project && (project !== undefined || tokenAccess !== "any token"))
    throw new RequestError(403, "this token is for another project alone");
  if (access === "anyone") return { ...caller, role: caller?.user.role };
  if (!caller) throw new RequestError(401, "sign in first");
  // A lease or judgement that is not there is the handler's to refuse.
  const role = found || about.project !== undefined ? found?.role : caller.user.role;
  if (!role) throw new RequestError(404, "there is no such project, or you are not a member of it");
  if (!includesRole(role, access))
    throw new RequestError(403, `this is for ${access === "owner" ? "owners" : "reviewers and owners"}`);
  return { ...caller, ...found, role };
}

/** @throws RequestError (403) if a token may not be used for a route */
function checkScope({ scopes }: TokenRights, needed: TokenAccess): void {
  if (needed === "no token") throw new RequestError(403, "tokens cannot do this: sign in in the label app");
  if (needed !== "any token" && !scopes.includes(needed))
    throw new RequestError(
      403,
      `this needs a token with the scope "${needed}", and this one has ${scopes.map((scope) => `"${scope}"`).join(", ")}`,
    );
}

const exportQuery = z.object({
  format: z.enum(exportFormats),
  as: z.enum(encodings).default("jsonl"),
  /** Adds margins to rankings and preferences: how much better the better completion is, 0 to 3. */
  margins: z.enum(["true", "false"]).default("false"),
});

/** Adds the route that exports a project's labels as a file. JSON lines are streamed. */
function addExportRoute(api: FastifyInstance, store: LabelStore): void {
  api.get(
    "/api/projects/:project/export",
    {
      schema: {
        params: z.object({ project: z.string() }),
        querystring: exportQuery,
        ...describeAccess("reviewer", "read"),
      },
    },
    async (request, reply) => {
      const { format, as, margins } = request.query as z.infer<typeof exportQuery>;
      const { user, token, ...authorised } = await authorise(store, request, "reviewer", "read");
      const project = authorised.project as Project;
      if (format === "log" && (user?.role !== "owner" || token?.project))
        throw new RequestError(403, "the log has all projects: it is for owners of the store");
      const name = `${project.name.replaceAll(/[^\p{L}\p{N}._-]+/gu, "-")}-${format}.${as}`;
      const rows = await exportSomeRows(store, project, format, { margins: margins === "true" });
      async function* lines() {
        for await (const row of rows) yield `${JSON.stringify(row)}\n`;
      }
      const types = {
        jsonl: "application/jsonl",
        json: "application/json",
        csv: "text/csv",
        parquet: "application/vnd.apache.parquet",
      };
      return reply
        .header("content-type", types[as])
        .header("content-disposition", `attachment; filename*=UTF-8''${encodeURIComponent(name)}`)
        .send(as === "jsonl" ? Readable.from(lines()) : await encodeRows(as, await collect(rows)));
    },
  );
}

/** Refuses cross-site requests: pages of other sites can make a browser send cookies, but no custom header. */
function refuseCrossSite({ headers, host }: FastifyRequest): void {
  const { origin } = headers;
  if (headers["x-plumbline"] !== "1")
    throw new RequestError(403, "requests that change something need the header x-plumbline: 1");
  if (origin === undefined) return;
  const page = URL.canParse(origin) ? new URL(origin) : undefined;
  // The page's protocol says which port is the default: the request's may be unknown behind a proxy.
  const target = `${page?.protocol}//${host}`;
  if (!page || !URL.canParse(target) || page.host !== new URL(target).host)
    throw new RequestError(
      403,
      `this request came from a page of ${page?.host || origin} and was sent to ${host}: behind a proxy, ` +
        "pass the Host header on ($http_host in nginx) or set X-Forwarded-Host, and start the server with --trust-proxy",
    );
}

/** Warns once if requests have X-Forwarded-* headers, which are ignored because no proxy is trusted. */
function warnOfIgnoredHeaders(app: FastifyInstance): void {
  let hasWarned = false;
  app.addHook("onRequest", async ({ headers }) => {
    const name = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"].find((name) => headers[name]);
    if (!name || hasWarned) return;
    hasWarned = true;
    console.error(
      `warning: a request has the header ${name}, which is ignored: ` +
        "if a proxy sets it, start the server with --trust-proxy and the proxy's address",
    );
  });
}

function sendError(error: unknown, request: FastifyRequest, reply: FastifyReply) {
  if (hasZodFastifySchemaValidationErrors(error)) {
    const [issue] = error.validation;
    const field = issue?.instancePath.slice(1).replaceAll("/", ".");
    return reply.code(400).send({ error: `${field ? `${field}: ` : ""}${issue?.message}` });
  }
  if (error instanceof RequestError) return reply.code(error.status).send({ error: error.message });
  if (error instanceof InputError) return reply.code(400).send({ error: error.message });
  if ((error as { statusCode?: number }).statusCode === 413) {
    const limit = request.routeOptions.bodyLimit / 2 ** 20;
    return reply.code(413).send({ error: `this is too large: a request has at most ${limit} MiB` });
  }
  const { statusCode = 500, message, stack } = error as Error & { statusCode?: number };
  if (statusCode < 500) return reply.code(statusCode).send({ error: message });
  console.error(stack);
  return reply.code(500).send({ error: "internal error; the server's log has the details" });
}
