// Checks answers whose verdicts by IFEval's own program are known (JSON lines of key, prompt, instruction_id_list, kwargs,
// response, strict, loose), and prints each instruction where ours differ, with the reason. Fails where there is none.
// `npm run check:eval -- FILE`

import { readFileSync } from "node:fs";
import { accuracyOf } from "../src/eval/ifeval.ts";
import { parseInstructions, type Verdicts, verdictsOn } from "../src/rewards/instructions/instructions.ts";
import { detectLanguage } from "../src/rewards/instructions/language.ts";
import { formatInterval } from "../src/statistics/bootstrap.ts";

interface Row extends Verdicts {
  key: number;
  instruction_id_list: string[];
  kwargs: Record<string, unknown>[];
  response: string;
}

/** Says why a verdict may differ; undefined if there is no good reason. */
function reasonFor(id: string, { letter }: Record<string, unknown>, response: string): string | undefined {
  if (id === "language:response_language" || id.startsWith("change_case:english_"))
    return `the language is detected by franc here (${detectLanguage(response) ?? "too little text"}), by langdetect there`;
  if (id === "keywords:letter_frequency" && !/^[a-z]$/i.test(String(letter)))
    return `"${letter}" is no letter: the authors' program counts a random one in its place`;
  if (id === "length_constraints:number_sentences")
    return "sentences are split by Punkt's trained model there";
  return undefined;
}

const [file = ""] = process.argv.slice(2);
const rows = readFileSync(file, "utf8")
  .split("\n")
  .filter((line) => line.trim())
  .map((line) => JSON.parse(line) as Row);
const ours = rows.map((row) => verdictsOn(row.response, parseInstructions(row, `${file}: key ${row.key}`)));
let different = 0;
for (const [i, row] of rows.entries())
  for (const [k, id] of row.instruction_id_list.entries()) {
    const [here, there] = [ours[i] as Verdicts, row].map(({ strict, loose }) => `${strict[k]}, ${loose[k]}`);
    if (here === there) continue;
    different++;
    const reason = reasonFor(id, row.kwargs[k] ?? {}, row.response);
    if (reason === undefined) process.exitCode = 1;
    console.log(`${row.key} ${id}: strict, loose ${here} here, ${there} there: ${reason ?? "UNEXPLAINED"}`);
  }
const instructions = rows.reduce((sum, row) => sum + row.instruction_id_list.length, 0);
console.log(`${rows.length} answers, ${instructions} instructions: ${different} verdicts differ`);
for (const kind of ["strict", "loose"] as const) {
  const [here, there] = [ours, rows].map((all) => accuracyOf(all.map((verdicts) => verdicts[kind])));
  for (const level of ["prompt", "instruction"] as const)
    console.log(
      `${kind}, ${level}: ${here && formatInterval(here[level])} here, ${there && formatInterval(there[level])} there`,
    );
}
