/** The amount that an invoice itself asks for (BOLT 11, human-readable part). */

const PREFIX = /^ln(?:bcrt|bc|tbs|tb|sb)(?:(\d+)([munp]?))?1/i;
const MSAT_PER_BTC = 100_000_000_000n;
const PARTS: Record<string, bigint> = { "": 1n, m: 1_000n, u: 1_000_000n, n: 1_000_000_000n, p: 1_000_000_000_000n };
const MSAT_PER_SAT = 1_000n;

/** In millisats; null for an invoice without an amount, or something that is no invoice. */
export function amountMsat(paymentRequest: string): bigint | null {
  const found = PREFIX.exec(paymentRequest);
  if (!found?.[1]) return null;
  return (BigInt(found[1]) * MSAT_PER_BTC) / (PARTS[found[2]?.toLowerCase() ?? ""] ?? 1n);
}

/** What the wallet would pay where it is not what the page says. */
export function otherAmount(paymentRequest: string, amountSats: number): string | null {
  const asked = amountMsat(paymentRequest);
  if (asked === null || asked === BigInt(amountSats) * MSAT_PER_SAT) return null;
  return `${(asked / MSAT_PER_SAT).toLocaleString("en")} sats`;
}
