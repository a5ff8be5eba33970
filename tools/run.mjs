// Runs a TypeScript file of this project with the Node that the project pins, after installing what is missing. Plain JavaScript: it runs on the machine's own Node.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const PNPM = "pnpm@12.21.0";
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stampFile = join(root, "node_modules", ".carillon-installed");
const lock = join(root, ".install-lock");

/** Changes whenever the lock file or a package.json does. */
function stamp() {
  const hash = createHash("sha256").update(process.arch);
  const manifests = ["package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml"];
  for (const folder of ["libs", "services", "examples"]) {
    if (!existsSync(join(root, folder))) continue;
    for (const name of readdirSync(join(root, folder)).toSorted()) manifests.push(join(folder, name, "package.json"));
  }
  manifests.push("integration-tests/package.json");
  for (const manifest of manifests) {
    const path = join(root, manifest);
    if (existsSync(path)) hash.update(manifest).update(readFileSync(path));
  }
  return hash.digest("hex");
}

const installed = () => existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp() && existsSync(pinnedNode());
const pinnedNode = () => join(root, "node_modules", "node", "bin", "node");

function install() {
  // Two commands started at once: the second waits for the first one's installation.
  for (let waited = 0; ; waited++) {
    try {
      mkdirSync(lock);
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      if (Date.now() - statSync(lock).mtimeMs > 600_000) rmdirSync(lock);
      else if (waited > 3_000) throw new Error(`another installation holds ${lock}`, { cause: error });
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    }
  }
  try {
    if (installed()) return;
    process.stderr.write("carillon: installing dependencies …\n");
    const result = spawnSync("npx", ["-y", PNPM, "install", "--frozen-lockfile"], { cwd: root, encoding: "utf8", env: { ...process.env, CI: "true" } });
    if (result.status !== 0) {
      process.stderr.write(`${result.stdout ?? ""}${result.stderr ?? ""}${result.error?.message ?? ""}\ncarillon: the installation failed\n`);
      process.exit(1);
    }
    writeFileSync(stampFile, stamp());
  } finally {
    rmdirSync(lock);
  }
}

const [file, ...args] = process.argv.slice(2);
if (file === undefined) {
  process.stderr.write("usage: node tools/run.mjs <file.ts> [argument …]\n");
  process.exit(64);
}
if (!installed()) install();
const path = [join(root, "node_modules", ".bin"), dirname(pinnedNode()), process.env.PATH].join(":");
const child = spawn(pinnedNode(), [join(root, file), ...args], { cwd: root, stdio: "inherit", env: { ...process.env, PATH: path } });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
