/** Sats that go back: where they stand, and where they should go. */

import type { Refund, SessionRefund } from "../generated/api";
import { ask, said } from "../page/api";
import { alarm, announce, button, h, quiet } from "../page/dom";
import { refundAddress } from "../page/memory";
import { sats } from "../page/money";
import { facts } from "./facts";
import { place, type Place } from "./places";

export interface Payout {
  amountSats: number;
  button: string; // such as: Send me the 10 sats
  send(place: Place): Promise<void>;
  isJobs?: boolean; // of a job: an LNURL will do as well, and the address can be kept for the next time
}

/** Null: there is nothing to give back. */
export function refundState(refund: Refund | SessionRefund): HTMLElement | null {
  if (refund.paidSats > 0 && refund.owedSats === 0) return h("p", { className: "ok" }, `✓ ${sats(refund.paidSats)} went back to you.`);
  if (refund.owedSats === 0) return null;
  if (refund.destination === null) return h("p", {}, h("strong", { className: "num" }, sats(refund.owedSats)), " are yours to take back.");
  return h(
    "div",
    { className: "going" },
    h("p", { className: "waiting" }, `${sats(refund.owedSats)} are on their way to you…`),
    refund.trouble ? h("p", { className: "warn" }, `The last attempt did not arrive: ${refund.trouble}`) : null,
  );
}

/** A place to send sats to: an address, an invoice of exactly this amount, or the wallet in the browser. */
export function payoutForm(payout: Payout): HTMLElement {
  const id = "payout-to";
  const trouble = h("p", { className: "err", id: "payout-trouble", role: "alert" });
  const input = h("input", {
    id,
    className: "field",
    autocomplete: "off",
    spellcheck: false,
    autocapitalize: "off",
    value: refundAddress.get() ?? "",
    placeholder: `you@wallet.example, ${payout.isJobs ? "lnurl1…, " : ""}lnbc…`,
    "aria-describedby": "payout-trouble",
  });
  const keep = h("input", { type: "checkbox", id: "payout-keep", checked: refundAddress.get() !== null });
  const presses: HTMLButtonElement[] = [];

  const places = payout.isJobs ? ["Lightning address", "LNURL", "an invoice"] : ["Lightning address", "an invoice"];
  const named = `${places.slice(0, -1).join(", ")}, or ${places.at(-1)} for exactly ${sats(payout.amountSats)}`;

  async function send(way: () => Promise<Place | null>): Promise<void> {
    trouble.textContent = "";
    for (const press of presses) press.disabled = true;
    try {
      const found = await way();
      if (found === null || ("lnurl" in found && !payout.isJobs)) throw new Error(`Write a ${named}.`);
      await payout.send(found);
      if (payout.isJobs) remember(found, keep.checked); // not before: an address that was refused would be refused with every order
      announce("The sats are on their way");
    } catch (problem) {
      trouble.textContent = said(problem);
      for (const press of presses) press.disabled = false;
      input.focus();
    }
  }

  presses.push(h("button", { type: "submit", className: "btn" }, payout.button));
  const wallet = window.webln;
  if (wallet?.makeInvoice) presses.push(button("Take it with browser wallet", () => void send(() => fromWallet(payout.amountSats)), quiet));
  if (facts().developmentRoutes) {
    presses.push(button("Test mode: to the test wallet", () => void send(() => fromTestWallet(payout.amountSats)), { className: "btn ghost test", id: "test-refund" }));
  }
  const onsubmit = (event: Event): void => {
    event.preventDefault();
    void send(() => Promise.resolve(place(input.value)));
  };
  return h(
    "form",
    { className: "payout", onsubmit },
    h("label", { htmlFor: id }, named),
    input,
    payout.isJobs ? h("label", { className: "check", htmlFor: "payout-keep" }, keep, "Send what is left there by itself from now on") : null,
    trouble,
    h("div", { className: "row" }, ...presses),
  );
}

function remember(kept: Place, wanted: boolean): void {
  if (!wanted) refundAddress.set(null);
  else if ("lightningAddress" in kept) refundAddress.set(kept.lightningAddress);
}

async function fromWallet(amountSats: number): Promise<Place> {
  await window.webln?.enable();
  const made = await window.webln?.makeInvoice?.({ amount: amountSats, defaultMemo: "Back from Timmy" });
  if (!made) {
    alarm("Your wallet made no invoice");
    throw new Error("Your wallet made no invoice. Write a Lightning address instead.");
  }
  return { invoice: made.paymentRequest };
}

async function fromTestWallet(amountSats: number): Promise<Place> {
  const made = await ask<{ paymentRequest: string }>("api/dev/stub/invoice", { body: { amountSats } });
  return { invoice: made.paymentRequest };
}
