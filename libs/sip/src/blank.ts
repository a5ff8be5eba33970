export const isBlank = (code: number): boolean => code === 0x20 || code === 0x09;

const isBlankOrLineEnd = (code: number): boolean => code === 0x20 || code === 0x09 || code === 0x0d || code === 0x0a;

/** Without SIP's white space around it. `trim()` would also take 0xA0 and with it the last byte of a UTF-8 `à`. */
export function trimmed(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlankOrLineEnd(text.charCodeAt(start))) start++;
  while (end > start && isBlankOrLineEnd(text.charCodeAt(end - 1))) end--;
  return end - start === text.length ? text : text.slice(start, end);
}

/** A header's value as one line, without blanks around it (RFC 3261 §7.3.1). By hand, because a regular expression takes quadratic time on long runs of blanks. */
export function unfolded(value: string): string {
  let feed = value.indexOf("\n");
  if (feed < 0) return trimmed(value);
  let line = "";
  let at = 0;
  while (feed >= 0) {
    line += `${trimmed(value.slice(at, feed))} `;
    at = feed + 1;
    feed = value.indexOf("\n", at);
  }
  return trimmed(line + trimmed(value.slice(at)));
}
