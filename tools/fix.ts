import { runSteps } from "./steps.ts";

const failed = runSteps([
  { name: "lint", command: "oxlint", args: ["--type-aware", "--quiet", "--fix"] },
  { name: "format", command: "oxfmt", args: [] },
  { name: "configuration documents", command: "node", args: ["tools/config-docs.ts"] },
]);
process.exit(failed.length > 0 ? 1 : 0);
