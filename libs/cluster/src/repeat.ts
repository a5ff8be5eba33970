/** Does `work` every `everyMs`, never twice at once: a turn that comes while the former one is under way is left out. */
export function repeat(everyMs: number, work: () => Promise<void>, onError: (error: unknown) => void): { stop(): void } {
  let working = false;
  const timer = setInterval(() => {
    if (working) return;
    working = true;
    work()
      .catch(onError)
      .finally(() => {
        working = false;
      });
  }, everyMs);
  return { stop: () => clearInterval(timer) };
}
