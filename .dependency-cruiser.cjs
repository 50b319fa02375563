// Imports point one way: native ← tensor ← math ← nn ← models ← batch ← rewards ← rollout ← stages ← loop ← cli. statistics,
// data, text, http, run and labels stand beside and import no engine.
const only = (from, allowed, comment) => ({
  name: `${from.replaceAll("/", "-")}-imports`,
  comment,
  severity: "error",
  from: { path: `^src/${from}/`, pathNot: "\\.test\\.ts$" },
  to: {
    path: "^(src|native|scripts)/",
    pathNot: [
      `^src/${from}/`,
      ...allowed.map((name) => `^${name === "native" ? name : `src/${name}`}/`),
      "^native/locate\\.d?\\.?mts$|^native/locate\\.mjs$",
    ],
  },
});

module.exports = {
  forbidden: [
    only("tensor", ["native"], "the engine's only importer of the addon"),
    only("statistics", [], "pure functions on numbers"),
    only("math", ["tensor", "statistics"], "pure functions on tensors"),
    only("nn", ["tensor", "math"], "layers, adapters, optimisers and schedules"),
    only("data", ["statistics"], "records and readers"),
    only("text", ["data"], "tokenizer and chat template"),
    only("http", ["data"], "requests to other servers"),
    only("run", ["data", "statistics"], "run directories"),
    {
      ...only("models", ["tensor", "math", "nn", "text", "data", "run"], "architectures and checkpoints"),
      from: { path: "^src/models/", pathNot: "\\.test\\.ts$|pull\\.ts$" },
    },
    only("batch", ["tensor", "math", "models", "text", "data"], "what a loss is computed on"),
    only(
      "rewards",
      ["tensor", "math", "statistics", "models", "batch", "http", "text", "data", "run"],
      "what scores responses: models and programs",
    ),
    only(
      "rollout",
      ["tensor", "math", "statistics", "nn", "models", "batch", "rewards", "http", "text", "data"],
      "sampling and scoring",
    ),
    only(
      "stages",
      ["tensor", "math", "nn", "models", "batch", "rollout", "rewards", "statistics", "text", "data", "run"],
      "training",
    ),
    {
      name: "stages-are-apart",
      comment: "stages never import each other; online DPO is DPO on its own samples, and takes its loss",
      severity: "error",
      from: { path: "^src/stages/([^/]+)/" },
      to: {
        path: "^src/stages/[^/]+/",
        pathNot: ["^src/stages/$1/", "^src/stages/dpo/(loss|completions)\\.ts$"],
      },
    },
    only(
      "constitution",
      ["tensor", "math", "statistics", "models", "batch", "rollout", "http", "text", "data", "run"],
      "AI feedback: what a model says by principles",
    ),
    only(
      "eval",
      [
        "tensor",
        "math",
        "statistics",
        "nn",
        "models",
        "batch",
        "rewards",
        "rollout",
        "text",
        "data",
        "constitution",
      ],
      "measures models, also by a model that judges",
    ),
    only(
      "loop",
      [
        "tensor",
        "math",
        "statistics",
        "models",
        "batch",
        "rewards",
        "rollout",
        "stages",
        "constitution",
        "eval",
        "labels",
        "data",
        "run",
      ],
      "iterative RLHF: runs the stages in rounds",
    ),
    only("labels", ["data", "statistics"], "labels in SQL: no engine"),
    only("server", ["labels", "data", "statistics"], "labels over HTTP: it never imports a trainer"),
    {
      name: "losses-are-pure",
      comment: "a loss takes tensors and numbers",
      severity: "error",
      from: { path: "/loss\\.ts$" },
      to: { pathNot: "^src/(tensor|math)/" },
    },
    {
      name: "no-cycles",
      severity: "error",
      // Tensor's methods call operators, and operators make tensors: one thing in two files.
      from: { pathNot: "^src/tensor/(tensor|ops|ops.generated)\\.ts$" },
      to: { circular: true },
    },
  ],
  options: {
    tsConfig: { fileName: "tsconfig.json" },
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
  },
};
