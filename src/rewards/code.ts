import { randomBytes } from "node:crypto";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { defaultLimits, type Language, type PartialLimits } from "./sandbox/program.ts";
import { runProgram } from "./sandbox/sandbox.ts";
import type { noSandboxPhrase } from "./sandbox/unsandboxed.ts";
import type { RewardFunction } from "./scorer.ts";

/** A test of a whole program: its input, and the output that it should print. */
const ioTest = z.object({ stdin: z.string().default(""), stdout: z.string() });

/** Tests of a prompt's row: statements that throw when the code is wrong, or inputs with the expected outputs. */
const testsSchema = z.union([z.array(z.string()).min(1), z.array(ioTest).min(1)]);

export interface CodeOptions {
  language: Language;
  /** Field of the prompt's row that the tests are in. */
  field: string;
  /**
   * Score: the share of tests that pass; 1 if all pass; if all pass, the share of the time limit left over; or the share
   * of lines in good style.
   */
  measure: "passed" | "all" | "speed" | "style";
  limits?: PartialLimits | undefined;
  /** Image to run in with docker or podman, in place of bubblewrap. */
  container?: string | undefined;
  /** Runs without a sandbox. */
  withoutSandbox?: typeof noSandboxPhrase | undefined;
}

/**
 * Makes a reward that runs the code of a completion against the tests in its prompt's row, in a sandbox by default.
 * Scores are from 0 to 1.
 */
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
    return measure === "all"
      ? 1
      : Math.max(0, 1 - seconds / (options.limits?.seconds ?? defaultLimits.seconds));
  };
}

/** Extracts the last fenced code block of a text, or the whole text if it has none. */
export const extractCode = (text: string): string =>
  [...text.matchAll(/```[^\n]*\n([\s\S]*?)(?:\n```|$)/g)].at(-1)?.[1] ?? text;

/** Runs tests. @returns how many passed, and the seconds that they took together */
async function runTests(
  language: Language,
  source: string,
  tests: z.output<typeof testsSchema>,
  options: Pick<CodeOptions, "limits" | "container" | "withoutSandbox">,
): Promise<{ passed: number; seconds: number }> {
  if (typeof tests[0] === "string") {
    // A random mark, so that the code cannot print that a test passed.
    const mark = randomBytes(12).toString("hex");
    const program = (language === "python" ? pythonTests : javascriptTests)(source, tests as string[], mark);
    const { stdout, seconds } = await runProgram(language, program, options);
    const marked = new Set(stdout.split("\n").filter((line) => line.startsWith(mark)));
    return { passed: tests.filter((_, i) => marked.has(`${mark} ${i}`)).length, seconds };
  }
  let [passed, seconds] = [0, 0];
  for (const { stdin, stdout } of tests as z.output<typeof ioTest>[]) {
    const outcome = await runProgram(language, source, { stdin, ...options });
    seconds += outcome.seconds;
    if (outcome.status === 0 && outcome.stdout.trim() === stdout.trim()) passed++;
  }
  return { passed, seconds };
}

// The tests run one by one after the code. For each that throws nothing the mark and the test's number are printed.

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

/** Computes the share of lines of at most 100 characters, without tabs or trailing spaces, in the language's case for names. */
function style(source: string, language: Language): number {
  const lines = source.split("\n").filter((line) => line.trim() !== "");
  if (!lines.length) return 0;
  const wrongCase =
    language === "python" ? /\b(def|for) \w*[a-z][A-Z]/ : /\b(function|let|const|var) \w*[a-z]_[a-z]|\bvar\b/;
  return (
    lines.filter((line) => line.length <= 100 && !/\t|\s$/.test(line) && !wrongCase.test(line)).length /
    lines.length
  );
}
