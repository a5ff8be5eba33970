export { T1_MS, T2_MS, T4_MS, TIMER_D_MS } from "./timers.ts";
export {
  serverInviteDueAtMs,
  startServerInvite,
  stepServerInvite,
  type ServerInvite,
  type ServerInviteAction,
  type ServerInviteEvent,
  type ServerInviteStep,
} from "./server-invite.ts";
export {
  clientInviteDueAtMs,
  startClientInvite,
  stepClientInvite,
  type ClientInvite,
  type ClientInviteAction,
  type ClientInviteEvent,
  type ClientInviteStep,
} from "./client-invite.ts";
export {
  serverNonInviteDueAtMs,
  startServerNonInvite,
  stepServerNonInvite,
  type ServerNonInvite,
  type ServerNonInviteEvent,
  type ServerNonInviteStep,
} from "./server-non-invite.ts";
export {
  clientNonInviteDueAtMs,
  startClientNonInvite,
  stepClientNonInvite,
  type ClientNonInvite,
  type ClientNonInviteAction,
  type ClientNonInviteEvent,
  type ClientNonInviteStep,
} from "./client-non-invite.ts";
