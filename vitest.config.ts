import { defineConfig, type ViteUserConfig } from "vitest/config";

/** Tests that start brokers or processes: one file at a time, each in a process of its own. */
const WITH_PROCESSES = ["integration-tests/**/*.test.ts", "libs/{bus,store,testkit}/**/*.test.ts", "libs/{edge,cluster,api}/**/*.test.ts"];

const config: ViteUserConfig = defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "pure",
          include: ["libs/**/*.test.ts", "tools/**/*.test.ts"],
          exclude: ["**/node_modules/**", ...WITH_PROCESSES],
          isolate: false,
          pool: "threads",
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: "process",
          include: WITH_PROCESSES,
          exclude: ["**/node_modules/**"],
          pool: "forks",
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
export default config;
