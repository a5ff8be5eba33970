/** RFC 3261 §17.1.1.1, table 4. Milliseconds. */
export const T1_MS = 500;
/** Longest interval between retransmissions of a response to INVITE, milliseconds. */
export const T2_MS = 4_000;
/** Longest time a message stays in the network, milliseconds. */
export const T4_MS = 5_000;
/** Timer D over unreliable transports: how long an INVITE client transaction answers repeated failures with ACK, milliseconds. */
export const TIMER_D_MS = 32_000;
