// Imports point one way: native ← tensor ← math ← nn ← models ← rollout ← stages ← cli. statistics, data, text and run stand beside models.
const only = (from, allowed, comment) => ({
  name: `${from.replaceAll("/", "-")}-imports`,
  comment,
  severity: "error",
  from: { path: `^src/${from}/`, pathNot: "\\.test\\.ts$" },
  to: {
    path: "^(src|native|scripts)/",
    pathNot: [
      `^src/${from}/`,
      ...allowed.map((name) => `^${name.includes("/") || name === "native" ? name : `src/${name}`}/`),
      "^native/locate\\.d?\\.?mts$|^native/locate\\.mjs$",
    ],
  },
});
const stage = ["tensor", "math", "nn", "models", "rollout", "rewards", "text", "data", "run"];

module.exports = {
  forbidden: [
    only("tensor", ["native"], "the engine's only importer of the addon"),
    only("statistics", [], "pure functions on numbers"),
    only("math", ["tensor", "statistics"], "pure functions on tensors"),
    only("nn", ["tensor", "math"], "optimisers and schedules"),
    only("data", ["statistics"], "records and readers"),
    only("text", ["data"], "tokenizer and chat template"),
    only("run", ["data", "statistics"], "run directories"),
    {
      ...only("models", ["tensor", "math", "nn", "text", "data", "run"], "architectures and checkpoints"),
      from: { path: "^src/models/", pathNot: "\\.test\\.ts$|pull\\.ts$" },
    },
    only("rollout", ["tensor", "math", "nn", "models", "text", "data"], "sampling and scoring"),
    ...["sft", "reward", "ppo", "grpo", "dpo"].map((name) =>
      only(name, stage, "stages never import each other"),
    ),
    only(
      "rewards",
      ["tensor", "math", "models", "rollout", "sandbox", "text", "data", "run"],
      "what scores responses: models and programs",
    ),
    only(
      "constitution",
      ["tensor", "math", "statistics", "models", "rollout", "text", "data", "run"],
      "AI feedback: what a model says by principles",
    ),
    only("sandbox", ["data"], "runs programs that nobody has read"),
    only("eval", ["tensor", "math", "statistics", "models", "rollout", "text", "data"], "measures models"),
    only("labels", ["data", "statistics"], "labels in SQL: no engine"),
    only("server", ["labels", "data", "statistics"], "labels over HTTP: it never imports a trainer"),
    only("report", ["data", "run"], "reads run directories"),
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
