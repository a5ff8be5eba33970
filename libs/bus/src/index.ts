export type { Bus, BusStatus, Delivery, PublishOptions, SubscribeOptions, Subscription } from "./bus.ts";
export { BusError, type BusErrorCode } from "./errors.ts";
export { inProcessBus, type InProcessBusOptions } from "./in-process-bus.ts";
export { connectNats, type NatsBusOptions } from "./nats-bus.ts";
