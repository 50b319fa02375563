// npm run check:templates [-- FOLDER …]: renders conversations with the chat templates that TRL's wheel carries, and with
// all *.jinja files of the folders given, and compares text, token ids and masks with transformers' apply_chat_template.
// npm run check:templates -- --fixtures: writes what transformers makes of test/golden/templates to templates.json there.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { here, python } from "../bench/process.ts";
import { pullModel } from "../src/models/pull.ts";
import { conversations, type Rendered, renderOurs, tokenizerFor } from "../test/templates.ts";

const interpreter = python("trl-1.16");
const carried = spawnSync(interpreter, ["-c", "import trl, os; print(os.path.dirname(trl.__file__))"], {
  encoding: "utf8",
}).stdout.trim();
const templates: Record<string, string> = {};
const golden = here("../test/golden");
const makeFixtures = process.argv[2] === "--fixtures";
const given = [join(carried, "chat_templates"), ...process.argv.slice(2)];
for (const folder of makeFixtures ? [join(golden, "templates")] : given)
  for (const file of readdirSync(folder)
    .filter((name) => name.endsWith(".jinja"))
    .sort())
    templates[basename(file, ".jinja")] = readFileSync(join(folder, file), "utf8");

/** Why a template may differ on a conversation: transformers refuses it, by an error of Python's that is none of ours. */
const known: Record<string, string> = {
  deepseekv3: "joins a tool's arguments to a text: an object is a TypeError in Python, and here its JSON",
  idefics3: "reads content[0] of an empty text: an error in Python, and here nothing",
  idefics3_training: "reads content[0] of an empty text: an error in Python, and here nothing",
  smolvlm: "reads content[0] of an empty text: an error in Python, and here nothing",
  smolvlm_training: "reads content[0] of an empty text: an error in Python, and here nothing",
};

const files = tokenizerFor(await pullModel("smollm2-135m-instruct"), Object.values(templates));
const theirs = renderTheirs();
if (makeFixtures) writeFileSync(join(golden, "templates.json"), `${JSON.stringify(theirs, null, 1)}\n`);
let differing = 0;
for (const [name, source] of Object.entries(templates)) {
  const differences = conversations().flatMap((conversation) => {
    const reason = compare(renderOurs(files, source, conversation), theirs[name]?.[conversation.name] ?? {});
    return reason === undefined ? [] : [`  ${conversation.name}: ${reason}`];
  });
  const refused = Object.values(theirs[name] ?? {}).filter(({ error }) => error !== undefined).length;
  const count = conversations().length - differences.length;
  console.log(
    `${name}: ${count} of ${conversations().length} equal${refused ? `, ${refused} refused by both` : ""}`,
  );
  for (const line of differences) console.log(line);
  if (!differences.length) continue;
  const isKnown = differences.every((line) => line.includes("refused by transformers")) && name in known;
  if (isKnown) console.log(`  known: ${known[name]}`);
  else differing++;
}
console.log(
  `${Object.keys(templates).length} templates, ${differing} of which differ without a known reason`,
);
process.exitCode = differing ? 1 : 0;

/** Renders all with transformers. */
function renderTheirs(): Record<string, Record<string, Rendered>> {
  const folder = mkdtempSync(join(tmpdir(), "templates-"));
  try {
    writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(files.tokenizer));
    writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(files.config));
    const request = join(folder, "request.json");
    writeFileSync(request, JSON.stringify({ tokenizer: folder, templates, conversations: conversations() }));
    const script = here("../test/interop/render_templates.py");
    const { status, stdout, stderr } = spawnSync(interpreter, [script, request], {
      encoding: "utf8",
      maxBuffer: 1e9,
      env: { ...process.env, HF_HUB_OFFLINE: "1" },
    });
    if (status !== 0) throw new Error(stderr);
    return JSON.parse(stdout);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Says where two renderings differ; undefined if they are equal, or both refuse the conversation. */
function compare(ours: Rendered, theirs: Rendered): string | undefined {
  if (ours.error !== undefined || theirs.error !== undefined)
    return ours.error !== undefined && theirs.error !== undefined
      ? undefined
      : `refused by ${theirs.error === undefined ? `us: ${ours.error}` : `transformers: ${theirs.error}`}`;
  for (const key of ["text", "prompt"] as const) {
    const [a, b] = [ours[key] ?? "", theirs[key] ?? ""];
    if (a === b) continue;
    let at = 0;
    while (a[at] === b[at]) at++;
    return `${key} differs at ${at}: ${JSON.stringify(a.slice(at - 20, at + 40))}, transformers ${JSON.stringify(b.slice(at - 20, at + 40))}`;
  }
  for (const key of ["ids", "mask"] as const) {
    const [a, b] = [ours[key] ?? [], theirs[key] ?? []];
    const at = a.length === b.length ? a.findIndex((id, i) => id !== b[i]) : Math.min(a.length, b.length);
    if (at >= 0)
      return `${key} differ at token ${at}: ${a.slice(at, at + 8)}; transformers ${b.slice(at, at + 8)}`;
  }
  return undefined;
}
