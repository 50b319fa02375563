// Measures by simulation how often the 95 % intervals that plumbline prints hold the planted truth, over tasks of one to 36
// pairs and 5 to 200 tasks, and how often its alarms ring where they should and where they should not.
// `npm run check:coverage -- [--simulations 1000] [--only "part of a name"] [--json]`

import { parseArgs } from "node:util";
import { formatTable } from "../src/cli/terminal.ts";
import { alarmRate, alarms } from "../test/alarms.ts";
import { statistics } from "../test/coverage.ts";

const { values } = parseArgs({
  options: {
    simulations: { type: "string", default: "1000" },
    only: { type: "string", default: "" },
    json: { type: "boolean", default: false },
  },
});
const simulations = Number(values.simulations);
const tasksOf = [5, 10, 20, 50, 200];
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

const rows = [];
for (const { name, sizes, cover } of statistics.filter(({ name }) => name.includes(values.only)))
  for (const size of sizes) {
    const covered = tasksOf.map((tasks) => cover({ size, tasks, simulations, truthTasks: 40_000 }));
    rows.push({ name, size, covered });
    console.error(`${name}, ${size}: ${covered.map(percent).join(" ")}`);
  }
const alarmRows = [];
for (const alarm of alarms.filter((each) => each.alarm.includes(values.only))) {
  const rates = tasksOf.map((tasks) => alarmRate(alarm, tasks, simulations));
  alarmRows.push({ alarm: alarm.alarm, truth: alarm.truth, isFalse: alarm.isFalse, rates });
  console.error(`${alarm.alarm}, ${alarm.truth}: ${rates.map(percent).join(" ")}`);
}
const heads = tasksOf.map((tasks) => `${tasks} tasks`);
if (values.json) console.log(JSON.stringify({ simulations, tasks: tasksOf, rows, alarms: alarmRows }));
else
  console.log(
    [
      formatTable([
        ["interval", "answers of a task", ...heads],
        ...rows.map(({ name, size, covered }) => [name, String(size), ...covered.map(percent)]),
      ]),
      formatTable([
        ["alarm", "truth", "it is", ...heads],
        ...alarmRows.map(({ alarm, truth, isFalse, rates }) => [
          ...[alarm, truth, isFalse ? "false" : "right"],
          ...rates.map(percent),
        ]),
      ]),
    ].join("\n\n"),
  );
