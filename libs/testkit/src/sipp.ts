import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram, missing, ROOT } from "./programs.ts";

export interface SippOptions {
  /** Name of a file in `integration-tests/scenarios`, without `.xml`. */
  readonly scenario: string;
  /** Port of loopback that sipp uses. */
  readonly port: number;
  /** Where it sends: `host:port`; absent for a party that only waits. */
  readonly remote?: string | undefined;
  readonly calls: number;
  readonly ratePerSecond?: number | undefined;
  readonly transport?: "udp" | "tcp" | undefined;
  /** Keys of the scenario: `-key name value`. */
  readonly keys?: Readonly<Record<string, string>> | undefined;
  /** Ends the run whatever happens, seconds. */
  readonly timeoutSeconds: number;
  /** Pause of the scenario, milliseconds (`-d`). */
  readonly pauseMs?: number | undefined;
}

export interface SippResult {
  readonly successful: number;
  readonly failed: number;
  readonly retransmissions: number;
  readonly unexpected: number;
  /** Exit status; −1 where it had to be ended. */
  readonly code: number;
  /** What sipp wrote of errors, shortened. */
  readonly errors: string;
}

export interface SippRun {
  /** Resolves when sipp has ended. */
  readonly done: Promise<SippResult>;
  /** Ends a party that waits for calls, after those that it has. */
  finish(): void;
}

/** Starts sipp with a limit of its own. Throws where there is no sipp. */
export function startSipp(options: SippOptions): SippRun {
  const program = findProgram("sipp");
  if (program === undefined) throw new Error(missing("sipp"));
  const folder = mkdtempSync(join(tmpdir(), "carillon-sipp-"));
  const { scenario, port, remote, calls, ratePerSecond, transport, keys, timeoutSeconds, pauseMs } = options;
  const fixed = `-i 127.0.0.1 -p ${port} -m ${calls} -l 4000 -t ${transport === "tcp" ? "t1" : "u1"} -buff_size 4000000 -nostdin`;
  const limits = `-timeout ${timeoutSeconds} -timeout_error -recv_timeout 60000`;
  const files = [
    "-sf",
    join(ROOT, "integration-tests/scenarios", `${scenario}.xml`),
    "-stf",
    join(folder, "stat.csv"),
    "-error_file",
    join(folder, "errors.log"),
  ];
  const args = [
    ...`${fixed} ${limits} -trace_stat -fd 3600 -trace_err`.split(" "),
    ...files,
    ...(ratePerSecond === undefined ? [] : ["-r", String(ratePerSecond)]),
    ...(pauseMs === undefined ? [] : ["-d", String(pauseMs)]),
    ...Object.entries(keys ?? {}).flatMap(([name, value]) => ["-key", name, value]),
    ...(remote === undefined ? [] : [remote]),
  ];
  const child = spawn(program.path, args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, ...program.env, TERM: "dumb" } });
  let complaint = "";
  child.stderr.on("data", (bytes: Buffer) => {
    if (complaint.length < 4_000) complaint += bytes.toString("utf8");
  });
  const endWithTest = (): void => void child.kill("SIGKILL");
  process.once("exit", endWithTest);
  const hung = setTimeout(() => child.kill("SIGKILL"), (timeoutSeconds + 15) * 1_000);
  const done = new Promise<SippResult>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => {
      clearTimeout(hung);
      process.off("exit", endWithTest);
      const result = { ...readStat(folder), code: code ?? -1, errors: code === 0 ? readErrors(folder) : complaint + readErrors(folder) };
      rmSync(folder, { recursive: true, force: true });
      resolve(result);
    });
  });
  return { done, finish: () => void child.kill("SIGUSR1") };
}

function readStat(folder: string): Pick<SippResult, "successful" | "failed" | "retransmissions" | "unexpected"> {
  const file = readdirSync(folder).find((name) => name.startsWith("stat"));
  const [head = "", ...rows] = file === undefined ? [""] : readFileSync(join(folder, file), "utf8").trim().split("\n");
  const names = head.split(";");
  const last = (rows.at(-1) ?? "").split(";");
  const of = (name: string): number => Number(last[names.indexOf(name)] ?? Number.NaN);
  return {
    successful: of("SuccessfulCall(C)"),
    failed: of("FailedCall(C)"),
    retransmissions: of("Retransmissions(C)"),
    unexpected: of("FailedUnexpectedMessage(C)"),
  };
}

function readErrors(folder: string): string {
  const file = readdirSync(folder).find((name) => name.startsWith("errors"));
  return file === undefined ? "" : readFileSync(join(folder, file), "utf8").slice(0, 6_000);
}
