import { randomBytes } from "node:crypto";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { type Language, type PartialLimits, defaultLimits as usual } from "./sandbox/program.ts";
import { runProgram } from "./sandbox/sandbox.ts";
import type { noSandboxPhrase } from "./sandbox/unsandboxed.ts";
import type { RewardFunction } from "./scorer.ts";

const output = z.object({ stdin: z.string().default(""), stdout: z.string() });

/** A row's tests: statements that raise where the code is wrong, or what a program should print for what it is given. */
const testsSchema = z.union([z.array(z.string()).min(1), z.array(output).min(1)]);

export interface CodeOptions {
  language: Language;
  /** Field of the prompt's row that the tests are in. */
  field: string;
  /** The share of tests passed, 1 where all are, how fast all were passed, or how tidy the text is. */
  measure: "passed" | "all" | "speed" | "style";
  limits?: PartialLimits | undefined;
  container?: string | undefined;
  withoutSandbox?: typeof noSandboxPhrase | undefined;
}

/** Runs the code of a completion, in a sandbox unless told otherwise, against the tests of its prompt's row: from 0 to 1. */
export function code({ language, field, measure, ...options }: CodeOptions): RewardFunction {
  return async (_, completion, metadata) => {
    const source = extractCode(completion);
    if (measure === "style") return style(source, language);
    const tests = testsSchema.safeParse(metadata[field]);
    if (!tests.success)
      throw new InputError(
        `reward: "${field}" of a prompt's row should be a list of tests, statements or {stdin, stdout}; it is ${JSON.stringify(metadata[field])?.slice(0, 200)}`,
      );
    const { passed, seconds } = await runTests(language, source, tests.data, options);
    const share = passed / tests.data.length;
    if (measure === "passed") return share;
    if (share < 1) return 0;
    return measure === "all" ? 1 : Math.max(0, 1 - seconds / (options.limits?.seconds ?? usual.seconds));
  };
}

/** The last fenced block; where there is none, all of the text. */
export const extractCode = (text: string): string =>
  [...text.matchAll(/```[^\n]*\n([\s\S]*?)(?:\n```|$)/g)].at(-1)?.[1] ?? text;

async function runTests(
  language: Language,
  source: string,
  tests: z.output<typeof testsSchema>,
  options: Pick<CodeOptions, "limits" | "container" | "withoutSandbox">,
): Promise<{ passed: number; seconds: number }> {
  if (typeof tests[0] === "string") {
    const mark = randomBytes(12).toString("hex");
    const whole = (language === "python" ? pythonTests : javascriptTests)(source, tests as string[], mark);
    const { stdout, seconds } = await runProgram(language, whole, options);
    const said = new Set(stdout.split("\n").filter((line) => line.startsWith(mark)));
    return { passed: tests.filter((_, i) => said.has(`${mark} ${i}`)).length, seconds };
  }
  let [passed, seconds] = [0, 0];
  for (const { stdin, stdout } of tests as z.output<typeof output>[]) {
    const outcome = await runProgram(language, source, { stdin, ...options });
    seconds += outcome.seconds;
    if (outcome.status === 0 && outcome.stdout.trim() === stdout.trim()) passed++;
  }
  return { passed, seconds };
}

// After the code each test runs by itself, and the mark and its number are printed where it raises nothing.

const pythonTests = (source: string, tests: readonly string[], mark: string): string => `${source}

def __run(tests):
    for i, test in enumerate(tests):
        try:
            exec(compile(test, f"test {i}", "exec"), globals())
        except BaseException as error:
            import sys
            print(f"test {i}: {error!r}", file=sys.stderr)
        else:
            print(f"\\n${mark} {i}", flush=True)
__run(__import__("json").loads(${JSON.stringify(JSON.stringify(tests))}))
`;

const javascriptTests = (source: string, tests: readonly string[], mark: string): string => `${source}

;(async () => {
${tests
  .map(
    (test, i) => `try {
${test}
;console.log("\\n${mark} ${i}")
} catch (error) { console.error("test ${i}:", error) }`,
  )
  .join("\n")}
})()
`;

/** Share of the lines that are short, without tabs or trailing space, in names that the language's people use. */
function style(source: string, language: Language): number {
  const lines = source.split("\n").filter((line) => line.trim() !== "");
  if (!lines.length) return 0;
  const odd =
    language === "python" ? /\b(def|for) \w*[a-z][A-Z]/ : /\b(function|let|const|var) \w*[a-z]_[a-z]|\bvar\b/;
  return (
    lines.filter((line) => line.length <= 100 && !/\t|\s$/.test(line) && !odd.test(line)).length /
    lines.length
  );
}
