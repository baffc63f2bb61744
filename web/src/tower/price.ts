/** The price, as somebody types. It never stands in the way: whoever hires sees the price again before they pay. */

import type { Estimate } from "../generated/api";
import { ask } from "../page/api";
import { need } from "../page/dom";
import { inDollars, sats } from "../page/money";

const PAUSE_MS = 400;
const CHARS_MIN = 8;
const IDLE = "Talking is free. Hiring costs sats; you see the price first.";
const UNKNOWN = "No estimate right now. You still see the price before you pay.";

export interface Purselike {
  isReady: boolean;
  balanceSats: number;
}

export class PriceLine {
  private readonly line = need("#price");
  private readonly box = need<HTMLTextAreaElement>("#message");
  private timer = 0;
  private asking: AbortController | null = null;

  constructor(private readonly purse: () => Purselike) {
    this.box.addEventListener("input", () => this.typed());
    this.line.textContent = IDLE;
  }

  /** Also when the balance or the identity has changed. */
  typed(): void {
    clearTimeout(this.timer);
    this.asking?.abort();
    const request = this.box.value.trim();
    if (request.length < CHARS_MIN) {
      this.line.textContent = IDLE;
      return;
    }
    this.timer = window.setTimeout(() => void this.look(request), PAUSE_MS);
  }

  private async look(request: string): Promise<void> {
    const asking = new AbortController();
    this.asking = asking;
    try {
      const estimate = await ask<Estimate>("api/estimate", { body: { request }, signal: asking.signal });
      if (!asking.signal.aborted) this.line.textContent = words(estimate, this.purse());
    } catch {
      if (!asking.signal.aborted) this.line.textContent = UNKNOWN;
    }
  }
}

/** The estimate is the most that is asked for; what was not used goes back, so most work costs less. */
function words(estimate: Estimate, purse: Purselike): string {
  const { serve, absorbSats, chargeSats } = estimate.identity.free_tier;
  const dear = inDollars(chargeSats, estimate.btcPriceUsd);
  if (purse.isReady) return `Hiring: up to about ${sats(chargeSats)} (≈ ${dear}) from your balance of ${sats(purse.balanceSats)}.`;
  const check = `Hiring: ${sats(estimate.evalFeeSats)} to check`;
  if (serve === "free") return `${check}; the work, ${sats(absorbSats)}, Timmy pays for you.`;
  const part = serve === "partial" ? ` Timmy pays ${sats(absorbSats)} of it.` : "";
  return `${check}, then about ${sats(chargeSats)} (≈ ${dear}) for the work. What is not used goes back.${part}`;
}
