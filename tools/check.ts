import { CHECKS, runSteps } from "./steps.ts";

process.exit(runSteps(CHECKS).length > 0 ? 1 : 0);
