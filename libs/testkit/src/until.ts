/** Waits until `check` gives something other than undefined and false; asks every 25 ms. Rejects after `limitMs`, with what was waited for. */
export async function until<T>(what: string, check: () => Promise<T | undefined | false> | T | undefined | false, limitMs = 20_000): Promise<T> {
  const endsAtMs = performance.now() + limitMs;
  for (;;) {
    const found = await check();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > endsAtMs) throw new Error(`waited ${limitMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
