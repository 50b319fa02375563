import { spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { basename } from "node:path";
import { InputError } from "../../data/errors.ts";
import { defaultLimits, type Language, type Limits, type RunningProgram, writeProgram } from "./program.ts";

const inContainer: Record<Language, string[]> = {
  python: ["python3", "-I"],
  javascript: ["node"],
  typescript: ["node"],
};

/** @param image with the interpreter in its path */
export function startInContainer(
  image: string,
  language: Language,
  source: string,
  limit: Limits,
): RunningProgram {
  const engine = findContainerEngine(image, language);
  const { folder, file } = writeProgram(language, source);
  const name = `plumbline-${randomUUID()}`;
  const [entry = "", ...args] = inContainer[language];
  const child = spawn(
    engine,
    [
      ...["run", "--name", name, "--volume", `${folder}:/program:ro`, ...options(limit)],
      ...["--entrypoint", entry, image, ...args, `/program/${basename(file)}`],
    ],
    { stdio: ["pipe", "pipe", "pipe"] },
  );
  // The child only asks for the container, which goes on without it, and may not have begun.
  const kill = () => {
    if (child.exitCode !== null) return;
    const asked = spawn(engine, ["kill", name], { stdio: "ignore" });
    asked.on("error", () => {}).on("close", () => setTimeout(kill, 200));
  };
  return { child, kill, cleanUp: () => rmSync(folder, { recursive: true, force: true }) };
}

function options({ seconds, memoryMb, processes, filesMb }: Limits): string[] {
  const files = filesMb * 1024 * 1024;
  return [
    ...["--rm", "--interactive", "--pull", "never", "--network", "none", "--read-only", "--cap-drop", "ALL"],
    ...["--security-opt", "no-new-privileges", "--user", "65534:65534", "--hostname", "sandbox"],
    ...["--memory", `${memoryMb}m`, "--memory-swap", `${memoryMb}m`, "--pids-limit", String(processes)],
    ...["--ulimit", `cpu=${Math.ceil(seconds)}`, "--ulimit", `fsize=${files}`, "--ulimit", "core=0"],
    // Of all containers together; podman's own is more than some machines allow.
    ...["--ulimit", "nofile=256", "--ulimit", "nproc=4096"],
    ...["--tmpfs", `/tmp:rw,size=${files}`, "--workdir", "/tmp"],
    ...["--env", "HOME=/tmp", "--env", "PYTHONDONTWRITEBYTECODE=1"],
  ];
}

const engines = new Map<string, string>();

/** Docker, or else podman, whichever runs the language in the image. @throws InputError where neither does */
export function findContainerEngine(image: string, language: Language): string {
  const key = `${language} ${image}`;
  const known = engines.get(key);
  if (known) return known;
  const problems: string[] = [];
  for (const engine of ["docker", "podman"]) {
    const args = [
      "run",
      ...options(defaultLimits),
      "--entrypoint",
      inContainer[language][0] as string,
      image,
    ];
    const { status, stderr, error } = spawnSync(engine, [...args, "--version"], { encoding: "utf8" });
    if (status === 0) {
      engines.set(key, engine);
      return engine;
    }
    problems.push(`${engine}: ${error ? "it is not there" : stderr.trim().split("\n")[0]}`);
  }
  throw new InputError(
    `container: ${language} does not run in "${image}" (${problems.join("; ")}). An image is fetched by docker pull ${image}`,
  );
}
