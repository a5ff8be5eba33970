export type { Beginning, CallCommand, DialogEvent, DialogTerms, LegAddress, LegName, Legs, OwnMethod, ReplacedDialog } from "./events.ts";
export {
  nextDueAtMs,
  stepDialog,
  type Asked,
  type Dialog,
  type DialogAction,
  type DialogInput,
  type DialogPolicy,
  type DialogStep,
  type EndReason,
  type LegState,
} from "./dialog.ts";
export { decodeDialog, encodeDialog } from "./record.ts";
export { viewOf, type DialogView, type LegView, type PingView } from "./view.ts";
