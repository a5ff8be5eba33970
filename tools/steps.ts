import { spawnSync } from "node:child_process";

export interface Step {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
}

/** Runs all steps, shows what each prints, and answers with the names of those that failed. */
export function runSteps(steps: readonly Step[]): readonly string[] {
  const failed: string[] = [];
  for (const { name, command, args } of steps) {
    const startedAtMs = performance.now();
    const { status } = spawnSync(command, args, { stdio: "inherit" });
    const seconds = ((performance.now() - startedAtMs) / 1_000).toFixed(1);
    process.stdout.write(`${status === 0 ? "ok    " : "FAILED"} ${name} (${seconds} s)\n`);
    if (status !== 0) failed.push(name);
  }
  return failed;
}

export const CHECKS: readonly Step[] = [
  { name: "types", command: "tsc", args: ["-b", "tsconfig.check.json"] },
  { name: "lint", command: "oxlint", args: ["--type-aware", "--quiet"] },
  { name: "format", command: "oxfmt", args: ["--check"] },
  { name: "unused", command: "knip", args: ["--no-progress"] },
  { name: "configuration documents", command: "node", args: ["tools/config-docs.ts", "--check"] },
];
