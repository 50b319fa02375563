import { spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { basename } from "node:path";
import { InputError } from "../../data/errors.ts";
import { defaultLimits, type Language, type Limits, type RunningProgram, writeProgram } from "./program.ts";

/** Interpreter of each language in a container. */
const interpreters: Record<Language, string[]> = {
  python: ["python3", "-I"],
  javascript: ["node"],
  typescript: ["node"],
};

/** Starts a program in a container. @param image has the interpreter in its PATH @throws InputError when it does not run */
export function startInContainer(
  image: string,
  language: Language,
  source: string,
  limit: Limits,
): RunningProgram {
  const engine = findContainerEngine(image, language);
  const { folder, file } = writeProgram(language, source);
  const name = `plumbline-${randomUUID()}`;
  const [entry = "", ...args] = interpreters[language];
  const child = spawn(
    engine,
    [
      ...["run", "--name", name, "--volume", `${folder}:/program:ro`, ...containerOptions(limit)],
      ...["--entrypoint", entry, image, ...args, `/program/${basename(file)}`],
    ],
    { stdio: ["pipe", "pipe", "pipe"] },
  );
  // The child is only a client of the container engine: the container goes on without it, and may not have started yet.
  const kill = () => {
    if (child.exitCode !== null) return;
    const killing = spawn(engine, ["kill", name], { stdio: "ignore" });
    killing.on("error", () => {}).on("close", () => setTimeout(kill, 200));
  };
  return { child, kill, cleanUp: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Options of docker and podman that isolate and limit a container. */
function containerOptions({ seconds, memoryMb, processes, filesMb }: Limits): string[] {
  const files = filesMb * 1024 * 1024;
  return [
    ...["--rm", "--interactive", "--pull", "never", "--network", "none", "--read-only", "--cap-drop", "ALL"],
    ...["--security-opt", "no-new-privileges", "--user", "65534:65534", "--hostname", "sandbox"],
    ...["--memory", `${memoryMb}m`, "--memory-swap", `${memoryMb}m`, "--pids-limit", String(processes)],
    ...["--ulimit", `cpu=${Math.ceil(seconds)}`, "--ulimit", `fsize=${files}`, "--ulimit", "core=0"],
    // nproc counts the processes of all containers. podman's default is more than some machines allow.
    ...["--ulimit", "nofile=256", "--ulimit", "nproc=4096"],
    ...["--tmpfs", `/tmp:rw,size=${files}`, "--workdir", "/tmp"],
    ...["--env", "HOME=/tmp", "--env", "PYTHONDONTWRITEBYTECODE=1"],
  ];
}

/** Container engine by language and image. */
const engines = new Map<string, string>();

/** Returns "docker" or "podman": the first that runs the language's interpreter in the image. @throws InputError if neither does */
export function findContainerEngine(image: string, language: Language): string {
  const key = `${language} ${image}`;
  const known = engines.get(key);
  if (known) return known;
  const problems: string[] = [];
  for (const engine of ["docker", "podman"]) {
    const args = [
      "run",
      ...containerOptions(defaultLimits),
      "--entrypoint",
      interpreters[language][0] as string,
      image,
    ];
    const { status, stderr, error } = spawnSync(engine, [...args, "--version"], { encoding: "utf8" });
    if (status === 0) {
      engines.set(key, engine);
      return engine;
    }
    problems.push(`${engine}: ${error ? "not installed" : stderr.trim().split("\n")[0]}`);
  }
  throw new InputError(
    `container: ${language} does not run in "${image}" (${problems.join("; ")}). Get the image with: docker pull ${image}`,
  );
}
