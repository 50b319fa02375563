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
import { collect, exportRows } from "../labels/export.ts";
import { exportFormats } from "../labels/export-formats.ts";
import { projectOf } from "../labels/members.ts";
import type { User } from "../labels/records.ts";
import { type LabelStore, RequestError } from "../labels/store.ts";
import { type Access, type RequestContext, sessionCookie } from "./labels/context.ts";
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
    (await findUser(store, request))?.id ?? clientAddress(request);
  await app.register(rateLimit, { max: 1200, timeWindow: "1 minute", keyGenerator });
  await app.register(swagger, {
    openapi: { info: { title: "plumbline", version: "1" } },
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
  const [access, handle] = handlers[key] as unknown as [
    Access,
    (context: RequestContext<K>) => Promise<Reply<K>>,
  ];
  const takesSecret = /login|claim|password|reset/.test(url);
  api.route({
    method,
    url,
    schema: { ...parts, response: { 200: response, "4xx": errorSchema } },
    ...(/\/import(\/preview)?$/.test(url) && { bodyLimit: bodyLimits.import }),
    // Slows down attempts to guess a password or token.
    ...(takesSecret && {
      config: { rateLimit: { max: 20, timeWindow: "1 minute", keyGenerator: clientAddress } },
    }),
    handler: async (request, reply) => {
      if (method !== "GET") refuseCrossSite(request);
      const { user, role } = await authorise(store, request, access);
      const { params, body } = request as unknown as Pick<RequestContext<K>, "params" | "body">;
      // Handlers for "anyone" check whether there is a user.
      const caller = { user: user as User, role: role as Role };
      return handle({ store, statistics, ...caller, params, body, request, reply });
    },
  });
}

/** Users of the requests whose session was looked up. */
const users = new WeakMap<FastifyRequest, Promise<User | undefined>>();

/** Returns the user of a request's session, which is looked up once; undefined without a valid one. */
function findUser(store: LabelStore, request: FastifyRequest): Promise<User | undefined> {
  const token = request.cookies[sessionCookie];
  const user =
    users.get(request) ?? (token === undefined ? Promise.resolve(undefined) : sessionUser(store, token));
  users.set(request, user);
  return user;
}

/** Returns the client's IPv4 address, or the /64 network of its IPv6 address, all of which may be the client's. */
const clientAddress = ({ ip }: FastifyRequest): string => normalizeIP(ip);

/**
 * Returns the user who sends a request, and their role: in the project that the route is about, also by a lease or
 * judgement; in a route without a project that of their account.
 * @throws RequestError if the route needs a session (401), is not for them (403), or they are no member (404)
 */
async function authorise(
  store: LabelStore,
  request: FastifyRequest,
  access: Access,
): Promise<{ user: User | undefined; role: Role | undefined }> {
  const user = await findUser(store, request);
  if (access === "anyone") return { user, role: user?.role };
  if (!user) throw new RequestError(401, "sign in first");
  const params = (request.params ?? {}) as { project?: string; lease?: string; judgement?: string };
  const item = params.lease ?? params.judgement;
  const project = params.project ?? (item === undefined ? undefined : await projectOf(store, item));
  const role = project === undefined ? user.role : await store.roleIn(project, user);
  if (!role) throw new RequestError(404, "there is no such project, or you are not a member of it");
  if (!includesRole(role, access))
    throw new RequestError(403, `this is for ${access === "owner" ? "owners" : "reviewers and owners"}`);
  return { user, role };
}

const exportQuery = z.object({ format: z.enum(exportFormats), as: z.enum(encodings).default("jsonl") });

/** Adds the route that exports a project's labels as a file. JSON lines are streamed. */
function addExportRoute(api: FastifyInstance, store: LabelStore): void {
  api.get(
    "/api/projects/:project/export",
    { schema: { params: z.object({ project: z.string() }), querystring: exportQuery } },
    async (request, reply) => {
      const { format, as } = request.query as z.infer<typeof exportQuery>;
      const { user } = await authorise(store, request, "reviewer");
      if (format === "log" && user?.role !== "owner")
        throw new RequestError(403, "the log has all projects: it is for owners of the store");
      const project = await store.project((request.params as { project: string }).project);
      const name = `${project.name.replaceAll(/[^\p{L}\p{N}._-]+/gu, "-")}-${format}.${as}`;
      const rows = exportRows(store, project, format);
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
