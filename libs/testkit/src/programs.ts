import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
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
  // Packages that predate the merged /usr put their libraries in /lib/<architecture>.
  const folders = ["usr/lib", "lib"].map((folder) => join(root, folder)).filter((folder) => existsSync(folder));
  return { path, env: { LD_LIBRARY_PATH: folders.flatMap((folder) => [folder, ...foldersIn(folder)]).join(":") } };
}

const foldersIn = (folder: string): readonly string[] =>
  readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(folder, entry.name));

/**
 * The package and those of its libraries that the system does not have, downloaded and unpacked; false where that fails.
 * apt works on lists and a cache of its own here: a fresh system has no lists, and only root may renew the system's.
 */
function download(name: string): boolean {
  const wanted = PACKAGES[name];
  if (wanted === undefined) return false;
  const root = cacheOf(name);
  // Appears under its name only when it is whole: two tests may want it at once, and a download may break off.
  const fresh = `${root}.${process.pid}`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(join(fresh, "apt/lists/partial"), { recursive: true });
  mkdirSync(join(fresh, "apt/cache/archives/partial"), { recursive: true });
  const script = [
    'apt() { apt-get -o Dir::State::lists="$PWD/apt/lists" -o Dir::Cache="$PWD/apt/cache" -o Debug::NoLocking=true -o APT::Sandbox::User=root "$@"; }',
    "apt update -qq",
    `{ apt install --print-uris -qq --no-install-recommends ${wanted} || true; } | sed -n "s/^'[^']*' \\([^_]*\\)_.*\\.deb .*/\\1/p" > packages`,
    `grep -qx ${wanted} packages || echo ${wanted} >> packages`,
    "apt download -qq $(cat packages)",
    'for deb in *.deb; do dpkg -x "$deb" .; done',
    "rm -rf apt *.deb",
  ].join("\n");
  process.stderr.write(`carillon: downloading ${wanted} into .cache/ for the tests …\n`);
  const { status, stderr } = spawnSync("sh", ["-ec", script], { cwd: fresh, timeout: 300_000, encoding: "utf8" });
  if (status === 0 && !existsSync(root)) renameSync(fresh, root);
  else rmSync(fresh, { recursive: true, force: true });
  if (status !== 0) process.stderr.write(`carillon: no ${wanted}: ${stderr.trim().split("\n").at(-1) ?? ""}\n`);
  return status === 0;
}

/** Programs that a test needs and that cannot be had, said once each. In CI nothing is skipped: there a test that lacks something fails. */
export function lacking(...names: readonly string[]): boolean {
  if (process.env["CI"] === "true" || process.env["CARILLON_BROKERS"] === "docker") return false;
  const absent = names.filter((name) => findProgram(name) === undefined);
  for (const name of absent) process.stderr.write(`carillon: skipping tests: ${missing(name)}\n`);
  return absent.length > 0;
}
