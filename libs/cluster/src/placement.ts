/**
 * Which member should hold each partition: rendezvous hashing with a bound, so that no member holds more than ⌈partitions ÷ members⌉. All who see the same members
 * come to the same answer; a member that comes or goes moves little more than its own share.
 */
export function place(partitions: number, members: readonly string[]): readonly (string | undefined)[] {
  const placed: (string | undefined)[] = Array.from({ length: partitions });
  if (members.length === 0) return placed;
  const most = Math.ceil(partitions / members.length);
  const held = new Map<string, number>();
  for (let partition = 0; partition < partitions; partition++) {
    let best: string | undefined;
    let bestScore = -1;
    for (const member of members) {
      if ((held.get(member) ?? 0) >= most) continue;
      const score = scoreOf(member, partition);
      if (score > bestScore || (score === bestScore && best !== undefined && member < best)) {
        best = member;
        bestScore = score;
      }
    }
    placed[partition] = best;
    if (best !== undefined) held.set(best, (held.get(best) ?? 0) + 1);
  }
  return placed;
}

/** FNV-1a over the name, mixed with the partition (murmur3's finisher): 0 to 2^32 − 1. */
function scoreOf(member: string, partition: number): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < member.length; at++) hash = Math.imul(hash ^ member.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ partition, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
