import { CHECKS, runSteps } from "./steps.ts";

// `npm test -- libs/sip` runs the tests of one place, without the checks.
const only = process.argv.slice(2);
const tests = { name: "tests", command: "vitest", args: ["run", ...only] };
process.exit(runSteps(only.length > 0 ? [tests] : [...CHECKS, tests]).length > 0 ? 1 : 0);
