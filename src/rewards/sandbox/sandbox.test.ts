import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { sandboxProblem } from "./bubblewrap.ts";
import { type Outcome, runProgram } from "./sandbox.ts";
import { noSandboxPhrase } from "./unsandboxed.ts";

const problem = sandboxProblem();
if (problem) console.log(`sandbox: skipped, ${problem}`);

const python = (source: string, limits = {}) =>
  runProgram("python", source, { limits: { seconds: 5, ...limits } });
const node = (source: string, limits = {}) =>
  runProgram("javascript", source, { limits: { seconds: 5, ...limits } });
/** Processes of this machine whose command line has the mark. */
const left = (mark: string) => spawnSync("pgrep", ["-f", mark], { encoding: "utf8" }).stdout;
const fails = ({ ended, status, stdout }: Outcome) =>
  (ended !== "exit" || status !== 0) && !stdout.includes("REACHED");

describe.skipIf(problem)("a sandboxed program", { timeout: 60_000 }, () => {
  it("runs, reads its input, and reports how it ended", async () => {
    expect(await python("import sys; print(sys.stdin.read() * 2); sys.exit(3)")).toMatchObject({
      ended: "exit",
      status: 3,
      stdout: "\n",
      stderr: "",
    });
    const { stdout } = await runProgram(
      "javascript",
      "process.stdin.on('data', (text) => console.log('got', String(text)))",
      {
        stdin: "ünï\n",
      },
    );
    expect(stdout).toBe("got ünï\n\n");
    expect((await node("import { cpus } from 'node:os'; console.log(await 1 + cpus().length)")).status).toBe(
      0,
    );
    expect((await node("const { join } = require('node:path'); console.log(join('a', 'b'))")).stdout).toBe(
      "a/b\n",
    );
    expect((await python("def f(:")).stderr).toMatch(/SyntaxError/);
  });

  it("may write files, which are removed with it", async () => {
    const source = "import os; print(os.listdir('.')); open('x', 'w').write('y'); print(open('x').read())";
    for (let i = 0; i < 2; i++) expect((await python(source)).stdout).toBe("[]\ny\n");
  });

  it("that loops is killed at its time limit", async () => {
    for (const run of [python("while True: pass", { seconds: 1 }), node("for (;;);", { seconds: 1 })]) {
      const { ended, seconds } = await run;
      expect(ended === "time" || ended === "exit").toBe(true); // its processor's seconds may be over first
      expect(seconds).toBeLessThan(3);
    }
    expect((await python("import time; time.sleep(60)", { seconds: 1 })).ended).toBe("time");
  });

  it("that forks without end is killed with all its processes", async () => {
    const bomb = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass";
    expect((await python(bomb, { seconds: 2 })).ended).not.toBe("exit");
    const shell = await node(
      "const { spawn } = require('node:child_process'); for (let i = 0; i < 1000; i++) spawn('/bin/sleep', ['4321']).on('error', () => {}); setTimeout(() => {}, 60000)",
      { seconds: 2 },
    );
    expect(fails(shell)).toBe(true);
    await expect.poll(() => left("sleep 4321"), { timeout: 5000 }).toBe("");
    await expect.poll(() => left("program/main.py"), { timeout: 5000 }).toBe("");
  });

  it("has no more processes than its limit", async () => {
    const source =
      "import os, time\nn = 1\nfor _ in range(100):\n    try:\n        if not os.fork(): time.sleep(60)\n        n += 1\n    except OSError: break\nprint(n)";
    const [outcome, beside] = await Promise.all([python(source), python(source, { processes: 8 })]);
    expect([outcome.stdout, beside.stdout]).toEqual(["32\n", "8\n"]);
  });

  it("that takes too much memory is killed: at once, in pieces, by several processes, in files", async () => {
    expect(fails(await python("x = bytearray(10_000_000_000); print('REACHED')"))).toBe(true);
    expect(
      fails(await python("x = []\nwhile len(x) < 10000: x.append(bytearray(1_000_000))\nprint('REACHED')")),
    ).toBe(true);
    expect(
      fails(
        await node(
          "const all = []; while (all.length < 10000) all.push(Buffer.alloc(1e6, 1)); console.log('REACHED')",
        ),
      ),
    ).toBe(true);
    const several = await python(
      "import os, time\nfor _ in range(8):\n    if not os.fork():\n        x = bytearray(b'1') * 300_000_000\n        time.sleep(30)\ntime.sleep(4)\nprint('REACHED')",
      { seconds: 20 },
    );
    expect(several.ended).toBe("memory");
    for (const where of ["/tmp/x", "/dev/shm/x", "/dev/x", "/x", "/program/x"])
      expect(
        fails(
          await python(
            `f = open(${JSON.stringify(where)}, "wb")\nfor _ in range(1000): f.write(bytes(1_000_000)); f.flush()\nprint("REACHED")`,
          ),
        ),
        where,
      ).toBe(true);
    const many =
      "for i in range(1000):\n    open(f'/tmp/{i}', 'wb').write(bytes(1_000_000))\nprint('REACHED')";
    expect(fails(await python(many))).toBe(true);
  });

  it("that prints without end is killed, and its output is cut", async () => {
    for (const stream of ["stdout", "stderr"]) {
      const outcome = await python(`import sys\nwhile True: sys.${stream}.write("x" * 10000)`);
      expect(outcome.ended).toBe("output");
      expect(outcome.stdout.length + outcome.stderr.length).toBeLessThanOrEqual(256 * 1024);
    }
  });

  it("reaches no network, not even this machine's", async () => {
    const server = createServer((_, response) => response.end("REACHED"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    for (const host of ["127.0.0.1", "1.1.1.1", "localhost"])
      expect(
        fails(
          await python(
            `import urllib.request; print(urllib.request.urlopen("http://${host}:${port}", timeout=2).read())`,
          ),
        ),
      ).toBe(true);
    // Nor by a socket in the file system, or one without a name.
    expect(
      fails(
        await python(
          "import socket; socket.socket(socket.AF_UNIX).connect('/var/run/docker.sock'); print('REACHED')",
        ),
      ),
    ).toBe(true);
    server.close();
  });

  it("sees no environment, no home, no other process", async () => {
    process.env.SECRET_OF_OURS = "REACHED";
    const outcome = await python(
      "import os, glob\nprint(dict(os.environ))\n\ntry: print(open('/proc/1/environ').read())\nexcept PermissionError: pass\nprint(sorted(os.listdir('/')), os.getuid())\nprint(sorted(p for p in os.listdir('/proc') if p.isdigit()))",
    );
    delete process.env.SECRET_OF_OURS;
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(outcome.stdout).not.toMatch(/REACHED/);
    expect(outcome.stdout).toMatch(/\['1', '2'(, '3')?\]/);
    // Of a home that an interpreter is in, that alone.
    const secret = join(homedir(), `.sandbox-test-${process.pid}`);
    const temporary = join(mkdtempSync(join(tmpdir(), "secret-")), "secret");
    for (const path of [secret, temporary]) writeFileSync(path, "REACHED");
    for (const path of [secret, temporary, "/etc/passwd", join(process.cwd(), "package.json")])
      expect(fails(await python(`open(${JSON.stringify(path)}).read(); print("REACHED")`)), path).toBe(true);
    rmSync(secret);
  });

  it("writes nothing outside, also not by links and open files of others", async () => {
    const dir = mkdtempSync(join(tmpdir(), "target-"));
    writeFileSync(join(dir, "kept"), "as it was");
    const path = JSON.stringify(join(dir, "made"));
    for (const source of [
      `open(${path}, "w").write("x"); print("REACHED")`,
      `import os; os.symlink(${JSON.stringify(dir)}, "/tmp/link"); open("/tmp/link/made", "w").write("x"); print("REACHED")`,
      `import os; os.symlink("/proc/1/root", "/tmp/link"); open("/tmp/link" + ${path}, "w").write("x"); print("REACHED")`,
      `import os; os.symlink("/usr/bin/python3", "/tmp/link"); open("/tmp/link", "a").write("x"); print("REACHED")`,
      `import os; os.mkdir("/usr/made"); print("REACHED")`,
      `import os; os.remove("/program/main.py"); print("REACHED")`,
      `import os; [os.write(fd, b"x") for fd in range(3, 64)]; print("REACHED")`,
      `import os; os.chroot("/"); print("REACHED")`,
      `import ctypes; exit(ctypes.CDLL(None).mount(b"/", b"/tmp", None, 4096, None) and 1); print("REACHED")`,
    ])
      expect(fails(await python(source)), source).toBe(true);
    expect(readdirSync(dir)).toEqual(["kept"]);
    expect(existsSync("/usr/made")).toBe(false);
  });

  it("cannot make system calls that hide memory or reach into the kernel", async () => {
    const call = (number: string) =>
      python(
        `import ctypes, platform\nlibc = ctypes.CDLL(None, use_errno=True)\nr = libc.syscall(${number}, 0, 0, 0, 0, 0)\nprint(r, ctypes.get_errno())`,
      );
    // io_uring_setup and memfd_secret have one number everywhere; EPERM is 1, and clone3 is not there at all.
    for (const number of ["425", "447"]) expect((await call(number)).stdout).toBe("-1 1\n");
    expect((await call("435")).stdout).toBe("-1 38\n");
    for (const source of [
      "import os; os.memfd_create('x'); print('REACHED')",
      "import ctypes; s = ctypes.CDLL(None).shmget(0, 1 << 20, 0o1600); exit(s < 0 and 1); print('REACHED')",
      `import ctypes, platform, os; r = ctypes.CDLL(None).syscall(${process.arch === "x64" ? 56 : 220}, 0x10000000 | 17, 0, 0, 0, 0); r == 0 and os._exit(0); exit(r < 0 and 1); print('REACHED')`,
      "import os; os.execv('/usr/bin/unshare', ['unshare', '--user', '--map-root-user', '/bin/echo', 'REACHED'])",
      "import ctypes; exit(ctypes.CDLL(None).ptrace(16, 1, 0, 0) and 1); print('REACHED')",
    ])
      expect(fails(await python(source)), source).toBe(true);
  });

  it("may have threads and child processes", async () => {
    const threads = await python(
      "import threading, subprocess\nall = [threading.Thread(target=lambda: print('t')) for _ in range(4)]\n[t.start() for t in all]; [t.join() for t in all]\nprint(subprocess.run(['/bin/echo', 'child'], capture_output=True).stdout)",
    );
    expect(threads.stdout).toBe("t\nt\nt\nt\nb'child\\n'\n");
    const worker = await node(
      "const { Worker } = require('node:worker_threads'); new Worker('console.log(1)', { eval: true }); require('node:child_process').execFile('/bin/echo', ['2'], (_, out) => process.stdout.write(out))",
    );
    expect(worker.stdout.trim().split("\n").sort()).toEqual(["1", "2"]);
  });

  it("cannot kill the process that started it, or any other", async () => {
    const bystander = spawnSync("true"); // the machine's programs go on
    expect(bystander.status).toBe(0);
    const source = `import os, signal\nfor pid in [${process.pid}, ${process.ppid}, os.getppid(), -1]:\n    try:\n        os.kill(pid, signal.SIGKILL)\n    except Exception as error:\n        print(error)`;
    await python(source);
    await node("process.kill(process.ppid, 'SIGKILL')");
    expect((await python("print('still here')")).stdout).toBe("still here\n");
  });

  it("that is aborted leaves no process or file", async () => {
    const stop = new AbortController();
    const run = runProgram("python", "import time; time.sleep(54.321)", { signal: stop.signal });
    setTimeout(() => stop.abort(), 300);
    await expect(run).rejects.toThrow(/abort/i);
  });

  it("runs by the thousand", async () => {
    const began = performance.now();
    let [next, right] = [0, 0];
    const work = async () => {
      while (next < 1000) {
        const i = next++;
        if ((await python(`print(${i} ** 2)`)).stdout === `${i ** 2}\n`) right++;
      }
    };
    await Promise.all([work(), work(), work(), work()]);
    expect(right).toBe(1000);
    const seconds = (performance.now() - began) / 1000;
    console.log(`sandbox: 1,000 programs in ${seconds.toFixed(1)} s, ${Math.round(1000 / seconds)} a second`);
  }, 300_000);
});

describe("a program without a sandbox", { timeout: 60_000 }, () => {
  const options = { withoutSandbox: noSandboxPhrase, limits: { seconds: 2 } } as const;

  it("runs with the user's consent, in a folder that is removed with it", async () => {
    const source = "import os; print(os.getcwd()); print(input()); open('x', 'w').write('y')";
    const { ended, status, stdout } = await runProgram("python", source, { ...options, stdin: "said" });
    expect([ended, status]).toEqual(["exit", 0]);
    const [folder = "", said] = stdout.split("\n");
    expect(said).toBe("said");
    expect(existsSync(folder)).toBe(false);
    const env = await runProgram(
      "javascript",
      "console.log(Object.keys(process.env).sort().join())",
      options,
    );
    expect(env.stdout.trim()).toBe("HOME,LANG,PATH");
  });

  it("is killed at its time limit, with its children, and when it prints too much", async () => {
    const began = "import subprocess, time; subprocess.Popen(['sleep', '4322']); time.sleep(60)";
    expect((await runProgram("python", began, options)).ended).toBe("time");
    await expect.poll(() => left("sleep 4322"), { timeout: 5000 }).toBe("");
    // One that ends leaves nothing behind either.
    await runProgram(
      "python",
      "import subprocess; subprocess.Popen(['sleep', '4323'], stdout=-3, stderr=-3)",
      options,
    );
    await expect.poll(() => left("sleep 4323"), { timeout: 5000 }).toBe("");
    expect((await runProgram("python", "while True: print('x' * 1000)", options)).ended).toBe("output");
    const many = "import os, time\nfor _ in range(100):\n    if not os.fork(): break\ntime.sleep(4324)";
    const limits = { seconds: 5, memoryMb: 100_000 };
    expect((await runProgram("python", many, { ...options, limits })).ended).toBe("processes");
  });
});

// An image with python3 and node; CI has no container runtime.
const image = process.env.PLUMBLINE_TEST_IMAGE ?? "";
if (!image) console.log("containers: skipped, PLUMBLINE_TEST_IMAGE names no image with python3 and node");

describe.skipIf(!image)("a program in a container", { timeout: 60_000 }, () => {
  const run = (source: string, limits = {}) =>
    runProgram("python", source, { container: image, limits: { seconds: 8, memoryMb: 128, ...limits } });

  it("runs, reads its input, and reports how it ended", async () => {
    const options = { container: image, stdin: "said" };
    const outcome = await runProgram("python", "import sys; print(input()); sys.exit(3)", options);
    expect(outcome).toMatchObject({ ended: "exit", status: 3, stdout: "said\n" });
    const module = "import { cpus } from 'node:os'; console.log(await 1, cpus().length > 0)";
    expect((await runProgram("javascript", module, options)).stdout).toBe("1 true\n");
  });

  it("is killed at its limits of time, memory, processes, files and output, and leaves nothing", async () => {
    const late = await run("import time; print('begun', flush=True); time.sleep(60)", { seconds: 2 });
    expect([late.ended, late.stdout]).toEqual(["time", "begun\n"]);
    // Before it has begun at all.
    expect((await run("print('REACHED')", { seconds: 0.01 })).ended).toBe("time");
    expect((await run("while True: print('x' * 1000)")).ended).toBe("output");
    for (const source of [
      "x = []\nwhile len(x) < 10000: x.append(bytearray(b'1') * 1_000_000)\nprint('REACHED')",
      "import os\nfor _ in range(200): os.fork()\nprint('REACHED')",
      "for i in range(100): open(f'/tmp/{i}', 'wb').write(bytes(1_000_000))\nprint('REACHED')",
    ])
      expect(fails(await run(source)), source).toBe(true);
    await expect.poll(() => left("plumbline-.* --network none"), { timeout: 5000 }).toBe("");
  });

  it("reaches no network, environment or file of the host, and writes nothing outside", async () => {
    const server = createServer((_, response) => response.end("REACHED"));
    await new Promise<void>((resolve) => server.listen(0, resolve));
    const { port } = server.address() as AddressInfo;
    process.env.SECRET_OF_OURS = "REACHED";
    const secret = join(mkdtempSync(join(tmpdir(), "secret-")), "secret");
    writeFileSync(secret, "REACHED");
    for (const source of [
      `import urllib.request; print(urllib.request.urlopen("http://127.0.0.1:${port}", timeout=2).read())`,
      `import os; print("REACHED" if "SECRET_OF_OURS" in os.environ else 1 / 0)`,
      `print(open(${JSON.stringify(secret)}).read())`,
      `open("/program/main.py", "a").write("x"); print("REACHED")`,
      `open("/made", "w").write("x"); print("REACHED")`,
      `import os; os.setuid(0); print("REACHED")`,
    ])
      expect(fails(await run(source)), source).toBe(true);
    delete process.env.SECRET_OF_OURS;
    server.close();
  });
});

it("refuses a missing image", async () => {
  const asked = runProgram("python", "", { container: "no/such-image:1" });
  await expect(asked).rejects.toThrow(/python does not run in "no\/such-image:1".*docker pull/s);
});
