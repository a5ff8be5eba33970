export type { Bus, BusStatus, Delivery, PublishOptions, SubscribeOptions, Subscription } from "./bus.ts";
