export { CarillonError, exitWith } from "./error.ts";
export { advertisedHost, loadConfig, requireBrokers, requireToken, type Config, type Environment } from "./config.ts";
export type { HostPort, Listen } from "./kinds.ts";
export { SETTINGS, type Setting } from "./settings.ts";
