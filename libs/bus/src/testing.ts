export { busContract } from "./bus.contract.ts";
