/**
 * Two 32-bit hashes of a text as 13 characters of base 36: spreads well, says nothing about the text to whoever does not know `seed`. Not a cryptographic hash:
 * it derives branches and tags, which must be the same on every pod and hard to guess from outside (RFC 3261 §8.1.1.7, §19.3), not unforgeable.
 */
export function digest(text: string, seed: number): string {
  let a = 0xdeadbeef ^ seed;
  let b = 0x41c6ce57 ^ Math.imul(seed, 0x9e3779b1);
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    a = Math.imul(a ^ code, 2_654_435_761);
    b = Math.imul(b ^ code, 1_597_334_677);
  }
  a = Math.imul(a ^ (a >>> 16), 2_246_822_507) ^ Math.imul(b ^ (b >>> 13), 3_266_489_909);
  b = Math.imul(b ^ (b >>> 16), 2_246_822_507) ^ Math.imul(a ^ (a >>> 13), 3_266_489_909);
  return (4_294_967_296 * (b & 0x1fffff) + (a >>> 0)).toString(36);
}
