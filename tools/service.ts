import { spawn } from "node:child_process";
import { existsSync } from "node:fs";

const [name] = process.argv.slice(2);
const main = `services/${name ?? ""}/src/main.ts`;
if (name === undefined || !existsSync(main)) {
  process.stderr.write("usage: npm run service -- ingress|transaction|dialog|timer|api|standalone\n");
  process.exit(64);
}
const child = spawn(process.execPath, [main], { stdio: "inherit" });
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
child.on("exit", (code) => process.exit(code ?? 1));
