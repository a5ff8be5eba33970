// Writes carillon.example.yaml and docs/reference/configuration.md from the table of settings; with --check it compares instead.
import { readFileSync, writeFileSync } from "node:fs";
import { SETTINGS, type Setting } from "@carillon/config";

function exampleYaml(): string {
  const lines = ["# Every key of the configuration with its default. Environment variables win over this file, which CARILLON_CONFIG names.", ""];
  let section = "";
  for (const setting of SETTINGS) {
    const [head = "", key] = setting.path.split(".");
    if (key !== undefined && head !== section) lines.push(`${head}:`);
    section = head;
    const indent = key === undefined ? "" : "  ";
    lines.push(`${indent}# ${setting.description} (${setting.env})`);
    const value = setting.fallback ?? "";
    const comment = setting.fallback === undefined ? "# " : "";
    lines.push(`${indent}${comment}${key ?? head}: ${/^[\w.]+$/.test(value) ? value : JSON.stringify(value)}`);
  }
  return `${lines.join("\n")}\n`;
}

const cell = (text: string): string => text.replaceAll("|", "\\|");

const row = ({ path, env, fallback, description }: Setting): string =>
  `| \`${path}\` | \`${env}\` | ${fallback === undefined ? "none" : `\`${fallback === "" ? '""' : fallback}\``} | ${cell(description)} |`;

function reference(): string {
  return [
    "# Configuration",
    "",
    "Environment variables win over the YAML file that `CARILLON_CONFIG` names; both win over the defaults. An unknown key or a bad value ends the process with one line",
    "that names it (exit status 78). Durations are `20s`, `500ms`, `2m`, `12h` or a number of seconds. Empty variables count as not set.",
    "This page is generated from `libs/config/src/settings.ts` (`npm run fix`).",
    "",
    "| key | variable | default | meaning |",
    "| --- | --- | --- | --- |",
    ...SETTINGS.map((setting) => row(setting)),
    "",
    "Telemetry follows the standard variables: tracing is on where `OTEL_EXPORTER_OTLP_ENDPOINT` is set; see [telemetry](../telemetry.md).",
    "",
  ].join("\n");
}

const files = [
  ["carillon.example.yaml", exampleYaml()],
  ["docs/reference/configuration.md", reference()],
] as const;
for (const [path, text] of files) {
  if (!process.argv.includes("--check")) writeFileSync(path, text);
  else if (readFileSync(path, "utf8") !== text) {
    process.stderr.write(`${path} does not say what the settings are: npm run fix\n`);
    process.exitCode = 1;
  }
}
