/** What a price is made of, and what the work really cost. */

import type { Job, PricingBreakdown } from "../generated/api";
import { h, type Child } from "../page/dom";
import { dollars, inDollars, sats } from "../page/money";

export type Row = [label: string, amount: string, kind?: string];

export function table(caption: string, rows: Row[]): HTMLElement {
  const lines = rows.map(([label, amount, kind]) => h("tr", { className: kind ?? "" }, h("th", { scope: "row" }, label), h("td", {}, amount)));
  return h("table", { className: "ledger" }, h("caption", {}, caption), h("tbody", {}, ...lines));
}

export function priceHint(job: Job, amountSats: number): string {
  const price = job.pricingBreakdown;
  return price ? `≈ ${inDollars(amountSats, price.btcPriceUsd)}` : "";
}

/** Folded: whoever wants to know how the price came about. */
export function priceDetails(job: Job): HTMLElement | null {
  const price = job.pricingBreakdown;
  if (!price) return null;
  const rows: Row[] = [
    ["Model", price.model],
    ["Tokens, estimated", `${price.estimatedInputTokens} in, ${price.estimatedOutputTokens} out`],
    ["Cost, estimated", dollars(price.estimatedCostUsd)],
    ["Timmy's margin", `${price.marginPct} %`],
    ["One bitcoin", bitcoin(price)],
    ["Price", sats(price.amountSats), "sum"],
    ...(job.absorbed_sats > 0 ? [["Timmy pays", `−${sats(job.absorbed_sats)}`] satisfies Row] : []),
  ];
  return folded("How this price came about", table("The price", rows));
}

const bitcoin = (price: PricingBreakdown): string => `$${price.btcPriceUsd.toLocaleString("en")} (${price.btcPriceSource})`;

/** The honest bill, when a job has ended. Null: there is nothing to account for. */
export function costs(job: Job): HTMLElement | null {
  const rows: Row[] = [];
  if (job.state !== "expired") rows.push(["Check fee, paid", sats(job.evalInvoice.amountSats)]);
  const ledger = job.costLedger;
  if (ledger) {
    rows.push(["Work, paid", sats(ledger.workAmountSats)]);
    if (job.absorbed_sats > 0) rows.push(["Timmy paid for you", sats(job.absorbed_sats)]);
    rows.push(["Work, charged to you", sats(ledger.actualAmountSats)]);
  }
  const back = job.refund.owedSats + job.refund.paidSats;
  if (job.state === "failed" && !ledger && job.workInvoice && back > 0) rows.push(["Work, paid", sats(back)]); // a failed job owes all of it
  if (back > 0 || ledger) rows.push(["Back to you", sats(back), "sum"]);
  if (rows.length === 0) return null;
  const details = ledger ? folded("What the model used", used(job)) : null;
  return h("section", { className: "costs", "aria-label": "What it cost" }, table("What it cost", rows), details);
}

function used(job: Job): HTMLElement {
  const ledger = job.costLedger;
  if (!ledger) return h("p");
  const counted = ledger.usageEstimated ? "counted by Timmy" : "counted by the model's provider";
  return table("What the model used", [
    ["Tokens in", String(ledger.actualInputTokens)],
    ["Tokens out", String(ledger.actualOutputTokens)],
    ["What they cost Timmy", dollars(ledger.actualCostUsd)],
    ["Counted", counted],
  ]);
}

export function folded(summary: string, ...children: Child[]): HTMLElement {
  return h("details", {}, h("summary", {}, summary), ...children);
}
