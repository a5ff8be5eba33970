/** Whether a subject matches a pattern with NATS wildcards: `*` one token, `>` the rest, at least one. */
export function matches(pattern: string, subject: string): boolean {
  if (pattern === subject) return true;
  if (!pattern.includes("*") && !pattern.includes(">")) return false;
  const wanted = pattern.split(".");
  const tokens = subject.split(".");
  for (const [at, want] of wanted.entries()) {
    if (want === ">") return tokens.length > at;
    if (at >= tokens.length || (want !== "*" && want !== tokens[at])) return false;
  }
  return wanted.length === tokens.length;
}
