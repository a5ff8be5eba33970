import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** A program of another project that the tests run, and how it is started. */
export interface Program {
  readonly path: string;
  readonly env: Readonly<Record<string, string>>;
}

export const ROOT: string = fileURLToPath(new URL("../../..", import.meta.url));

/** Debian's packages of the programs that the tests need, with the libraries that a bare system lacks. */
const PACKAGES: Readonly<Record<string, string>> = { "redis-server": "redis-server", "nats-server": "nats-server", sipp: "sip-tester" };

/** The program from the PATH, or from Debian's package unpacked under `.cache/`; undefined where neither can be had. Nothing is installed on the system. */
export function findProgram(name: string): Program | undefined {
  const onPath = (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, name));
  const found = onPath.find((path) => isExecutable(path));
  if (found !== undefined) return { path: found, env: {} };
  return unpacked(name) ?? (isDebian() && download(name) ? unpacked(name) : undefined);
}

export const missing = (name: string): string => `${name} is not here: install Debian's ${PACKAGES[name] ?? name}, or put ${name} on the PATH`;

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function isDebian(): boolean {
  return existsSync("/etc/os-release") && /^ID(?:_LIKE)?=.*(?:debian|ubuntu)/m.test(readFileSync("/etc/os-release", "utf8"));
}

const cacheOf = (name: string): string => join(ROOT, ".cache", "debian", name);

function unpacked(name: string): Program | undefined {
  const root = cacheOf(name);
  const path = ["usr/bin", "usr/sbin"].map((folder) => join(root, folder, name)).find((one) => isExecutable(one));
  if (path === undefined) return undefined;
  const lib = join(root, "usr/lib");
  const folders = [lib, ...(existsSync(lib) ? readdirSync(lib).map((folder) => join(lib, folder)) : []), join(root, "lib")];
  return { path, env: { LD_LIBRARY_PATH: folders.join(":") } };
}

/** The package and those of its libraries that the system does not have, downloaded and unpacked; false where that fails. */
function download(name: string): boolean {
  const wanted = PACKAGES[name];
  if (wanted === undefined) return false;
  const root = cacheOf(name);
  mkdirSync(root, { recursive: true });
  const script = [
    `apt-get install --print-uris -qq --no-install-recommends ${wanted} 2>/dev/null | grep -o "[^/' ]*_[^/' ]*\\.deb" | sed 's/_.*//' | sort -u > packages`,
    `[ -s packages ] || echo ${wanted} > packages`,
    "apt-get download $(cat packages) >/dev/null 2>&1",
    'for deb in *.deb; do dpkg -x "$deb" . || exit 1; done',
    "rm -f *.deb",
  ].join("\n");
  process.stderr.write(`carillon: downloading ${wanted} into .cache/ for the tests …\n`);
  return spawnSync("sh", ["-ec", script], { cwd: root, timeout: 300_000 }).status === 0;
}
