/** Partition of a Call-ID: FNV-1a over its characters, modulo the number of partitions. The same on every pod and in every release. */
export function partitionOf(callId: string, partitions: number): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < callId.length; at++) hash = Math.imul(hash ^ callId.charCodeAt(at), 0x01000193);
  // FNV's low bits mix poorly for short texts: fold the high half in.
  return ((hash ^ (hash >>> 16)) >>> 0) % partitions;
}
