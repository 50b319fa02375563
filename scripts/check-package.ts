// npm run check:package [-- NODE_VERSION …]: packs the package, installs it into an empty project under each version of
// Node (default: 20, 22, 24 and the newest), and runs README's snippets there, with few steps.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const versions = process.argv.length > 2 ? process.argv.slice(2) : ["20", "22", "24", "latest"];
const folder = mkdtempSync(join(tmpdir(), "package-"));
try {
  const [packed] = JSON.parse(
    execFileSync("npm", ["pack", "--json", "--pack-destination", folder], { cwd: root, encoding: "utf8" }),
  );
  console.log(`${packed.filename}: ${packed.files.length} files, ${(packed.size / 1e6).toFixed(1)} MB`);
  for (const version of versions) check(version, join(folder, packed.filename));
} finally {
  rmSync(folder, { recursive: true });
}

/** Installs the package into an empty project, and runs the snippets with this version of Node. */
function check(version: string, tarball: string): void {
  const project = join(folder, `node-${version}`);
  mkdirSync(project);
  const run = (command: string, args: readonly string[], cwd = project) =>
    execFileSync(command, args, {
      cwd,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
      env: {
        ...process.env,
        PATH: [join(project, "node_modules", ".bin"), process.env.PATH].join(delimiter),
      },
    });
  writeFileSync(join(project, "package.json"), '{ "private": true, "type": "module" }');
  run("npm", [
    "install",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
    `node-${process.platform}-${process.arch}@${version}`,
    tarball,
  ]);
  const running = run("node", ["-p", "process.version"]).trim();
  for (const line of commands()) {
    const [, ...args] = line.split(/\s+/); // after npx
    const cwd = args[1] === "setup" || args[1] === "init" ? project : join(project, "my-project");
    run("npx", [...args, ...short(args[1])], cwd);
  }
  const snippet = /```ts\n(import [^`]*plumbline-rlhf[^`]*)```/.exec(readme())?.[1] ?? "";
  const file = join(project, "my-project", "snippet.mjs");
  // The library's calls take as few steps as the commands.
  writeFileSync(
    file,
    snippet
      .replace("epochs: 3", "maxSteps: 1")
      .replace('data: "comparisons.jsonl"', 'data: "comparisons.jsonl", maxSteps: 1')
      .replace(
        'prompts: "prompts.jsonl",',
        'prompts: "prompts.jsonl", steps: 1, batchSize: 2, maxTokens: 8,',
      ),
  );
  const kl = Number(run("node", [file], join(project, "my-project")));
  if (!Number.isFinite(kl)) throw new Error(`Node ${version}: the library's snippet printed no KL`);
  console.log(`${running}: README's commands and its library snippet ran`);
}

function readme(): string {
  return readFileSync(join(root, "README.md"), "utf8");
}

/** README's commands of an empty project, from set-up to a trained policy. */
function commands(): string[] {
  return [
    ...readme().matchAll(
      /^\$ (npx plumbline-rlhf (?:setup|init my-project|sft sft\.yaml|reward reward\.yaml|ppo ppo\.yaml))\b/gm,
    ),
  ].map(([, command]) => command as string);
}

/** Settings that make a stage short. */
function short(stage: string | undefined): string[] {
  const set = (...settings: string[]) => settings.flatMap((setting) => ["--set", setting]);
  if (stage === "sft" || stage === "reward") return set("maxSteps=1");
  return stage === "ppo" ? set("steps=1", "batchSize=2", "maxTokens=8") : [];
}
