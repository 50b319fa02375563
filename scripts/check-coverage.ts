// Measures by simulation how often the 95 % intervals that plumbline prints hold the planted truth, over tasks of one to 36
// pairs and 5 to 200 tasks. `npm run check:coverage -- [--simulations 1000] [--json]`

import { parseArgs } from "node:util";
import { formatTable } from "../src/cli/terminal.ts";
import { statistics } from "../test/coverage.ts";

const { values } = parseArgs({
  options: { simulations: { type: "string", default: "1000" }, json: { type: "boolean", default: false } },
});
const simulations = Number(values.simulations);
const tasksOf = [5, 10, 20, 50, 200];
const rows = [];
for (const { name, sizes, cover } of statistics)
  for (const size of sizes) {
    const covered = tasksOf.map((tasks) => cover({ size, tasks, simulations, truthTasks: 40_000 }));
    rows.push({ name, size, covered });
    console.error(`${name}, ${size}: ${covered.map((share) => share.toFixed(3)).join(" ")}`);
  }
if (values.json) console.log(JSON.stringify({ simulations, tasks: tasksOf, rows }));
else
  console.log(
    formatTable([
      ["interval", "answers of a task", ...tasksOf.map((tasks) => `${tasks} tasks`)],
      ...rows.map(({ name, size, covered }) => [
        name,
        String(size),
        ...covered.map((share) => `${(100 * share).toFixed(1)} %`),
      ]),
    ]),
  );
