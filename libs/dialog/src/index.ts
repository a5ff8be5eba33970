export type { CallCommand, DialogEvent, LegAddress, LegName, Legs, OwnMethod } from "./events.ts";
