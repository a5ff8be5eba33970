/** A branch's final response, as far as the choice goes. */
export interface Candidate {
  readonly status: number;
}

/**
 * RFC 3261 §16.7 step 6: the final response to send when all branches have failed. A 6xx wins; then the lowest class, where within the classes those come first that
 * let the caller do better (401, 407, 415, 420, 484); what says least (408, 503) comes last. In a cancelled transaction 487 comes before all.
 * Undefined for no candidates.
 */
export function bestOf<T extends Candidate>(candidates: readonly T[], cancelled: boolean): T | undefined {
  let best: T | undefined;
  let bestRank = Infinity;
  for (const candidate of candidates) {
    const rank = rankOf(candidate.status, cancelled);
    if (rank < bestRank) {
      best = candidate;
      bestRank = rank;
    }
  }
  return best;
}

const HELPFUL = [401, 407, 415, 420, 484];

function rankOf(status: number, cancelled: boolean): number {
  if (cancelled && status === 487) return 0;
  if (status >= 600) return 100 + (status - 600);
  if (status === 408) return 900;
  if (status === 503) return 901;
  if (status < 400) return 200 + (status - 300);
  const helpful = HELPFUL.indexOf(status);
  if (helpful >= 0) return 400 + helpful;
  return status < 500 ? 500 + (status - 400) : 700 + (status - 500);
}
