/** NATS subjects: the names that services and outsiders rely on. */
export const sipIn = (partition: number): string => `sip.in.${partition}`;
export const sipOut = (ingress: string): string => `sip.out.${ingress}`;
/** Queue group of all ingress pods. */
export const SIP_OUT_ANY = "sip.out.any";
export const dialogIn = (partition: number): string => `dialog.in.${partition}`;
export const dialogDo = (partition: number): string => `dialog.do.${partition}`;
export const transactionDo = (partition: number): string => `transaction.do.${partition}`;
export const CLUSTER_ALIVE = "cluster.alive";
export const CLUSTER_LEAVING = "cluster.leaving";
/** Public JSON events: `carillon.events.dialog.ended` and so on. */
export const publicEvent = (name: string): string => `carillon.events.${name}`;
