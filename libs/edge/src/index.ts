export { EdgeError, startEdge, type Edge, type EdgeOptions, type Listen } from "./edge.ts";
export type { EdgeCounted } from "./counted.ts";
export { startIngress } from "./ingress.ts";
