// Runs a TypeScript file of this project with the Node that the project pins, after installing what is missing. Plain JavaScript: it runs on the machine's own Node.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const PNPM = "pnpm@12.21.0";
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stampFile = join(root, "node_modules", ".carillon-installed");
const lock = join(root, ".cache", "installing");

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
  mkdirSync(dirname(lock), { recursive: true });
  // Two commands started at once: the second waits for the first one's installation.
  for (let waited = 0; !taken(); waited++) {
    if (waited === 5) process.stderr.write("carillon: waiting for another installation …\n");
    if (waited > 3_000) fail(`another installation holds ${lock}`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  }
  try {
    if (installed()) return;
    process.stderr.write("carillon: installing dependencies …\n");
    const result = spawnSync("npx", ["-y", PNPM, "install", "--frozen-lockfile"], { cwd: root, encoding: "utf8", env: { ...process.env, CI: "true" } });
    if (result.status !== 0) fail(`${result.stdout ?? ""}${result.stderr ?? ""}${result.error?.message ?? ""}\ncarillon: the installation failed`);
    writeFileSync(stampFile, stamp());
  } finally {
    rmSync(lock, { force: true });
  }
}

/** Whether the lock is ours now. What a process that is gone left behind is taken away. */
function taken() {
  try {
    writeFileSync(lock, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    if (!holderLives()) rmSync(lock, { force: true });
    return false;
  }
}

function holderLives() {
  try {
    // 0 for a moment: the holder has made the file and not yet written its id; signal 0 to group 0 succeeds.
    process.kill(Number(readFileSync(lock, "utf8")), 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** An error and not an exit: the lock goes first. */
function fail(sentence) {
  throw Object.assign(new Error(sentence), { code: "CARILLON_RUN_INSTALL" });
}

const [file, ...args] = process.argv.slice(2);
if (file === undefined) {
  process.stderr.write("usage: node tools/run.mjs <file.ts> [argument …]\n");
  process.exit(64);
}
try {
  if (!installed()) install();
} catch (error) {
  if (error.code !== "CARILLON_RUN_INSTALL") throw error;
  process.stderr.write(`${error.message}\n`);
  process.exit(1);
}
const path = [join(root, "node_modules", ".bin"), dirname(pinnedNode()), process.env.PATH].join(":");
const child = spawn(pinnedNode(), [join(root, file), ...args], { cwd: root, stdio: "inherit", env: { ...process.env, PATH: path } });
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("error", (error) => {
  process.stderr.write(`carillon: ${error.message}\n`);
  process.exit(1);
});
child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 1)));
