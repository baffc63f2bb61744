/** Amounts for people. Sats come first, dollars are a hint. */

export const sats = (amount: number): string => `${amount.toLocaleString("en")} ${amount === 1 ? "sat" : "sats"}`;

const CENTS_BELOW = 1;

export function dollars(amount: number): string {
  if (amount === 0) return "$0";
  return amount < CENTS_BELOW ? `$${amount.toPrecision(2).replace(/\.?0+$/, "")}` : `$${amount.toFixed(2)}`;
}

const SATS_PER_BTC = 100_000_000;

export const inDollars = (amountSats: number, btcPriceUsd: number): string => dollars((amountSats * btcPriceUsd) / SATS_PER_BTC);

const MSAT_PER_SAT = 1_000;

/** A thousandth of a sat is counted, so it is shown: 10.64 sats. */
export const exact = (msat: number): string => `${(msat / MSAT_PER_SAT).toLocaleString("en", { maximumFractionDigits: 3 })} sats`;
