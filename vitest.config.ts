import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts", "data/**/*.test.ts"],
    // The engine serves one thread of a process.
    pool: "forks",
    maxWorkers: 2,
    // Two processes of two threads on two cores wait for each other most of the time.
    env: { OMP_NUM_THREADS: "1" },
    testTimeout: 120_000,
    globalSetup: "./test/temporary.ts",
    reporters: ["default", "./test/summary.ts"],
  },
});
