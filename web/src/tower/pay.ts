/** The pay sheet: an amount, what it is for, and every way to pay it. */

import type { Invoice } from "../generated/api";
import { ask, said } from "../page/api";
import { add, announce, button, h, quiet } from "../page/dom";
import { sats } from "../page/money";
import { otherAmount } from "./bolt11";
import { qrCode, scannable } from "./qr";
import { facts } from "./facts";

export interface Sheet {
  element: HTMLElement;
  stop(): void;
}

export interface Paying {
  invoice: Invoice;
  what: string;
  hint?: string; // beside the amount: what it is in dollars, or what the pool adds
  look(): void; // somebody says that it is paid: go and see
  lapsed?(): void;
}

const TICK_MS = 1_000;
const LAST_PART = 0.25; // no countdown before this much of the time is left: it only makes people hurry

export function paySheet(paying: Paying): Sheet {
  const { invoice } = paying;
  const status = h("p", { className: "waiting", role: "status" }, "Waiting for payment");
  const left = h("p", { className: "small num", hidden: true });
  const element = h("div", { className: "pay" }, h("h3", {}, paying.what), amount(paying), warning(invoice), status);
  const ways = [withWallet(invoice, status, paying.look), scan(invoice, status), links(invoice, status)];
  add(element, [...ways, left, testMode(invoice, status, paying.look)]);
  const stop = countdown(invoice, left, paying.lapsed);
  return { element, stop };
}

function amount({ invoice, hint }: Paying): HTMLElement {
  return h("p", { className: "amount" }, sats(invoice.amountSats), hint ? h("small", {}, ` ${hint}`) : null);
}

function warning(invoice: Invoice): HTMLElement | null {
  const other = otherAmount(invoice.paymentRequest, invoice.amountSats);
  if (other === null) return null;
  return h("p", { className: "err", role: "alert" }, `Do not pay this: it asks for ${other}, and not for ${sats(invoice.amountSats)}.`);
}

function withWallet(invoice: Invoice, status: HTMLElement, look: () => void): HTMLElement | null {
  const wallet = window.webln;
  if (!wallet) return null;
  const press = button("Pay with browser wallet", () => {
    press.disabled = true;
    status.textContent = "Asking your wallet…";
    void (async () => {
      try {
        await wallet.enable(); // before anything else: a wallet that is not enabled refuses to pay
        await wallet.sendPayment(invoice.paymentRequest);
        status.textContent = "Sent. Checking…";
        look();
      } catch (trouble) {
        status.textContent = `Your wallet did not pay: ${said(trouble)}. Try again, or scan the code.`;
        press.disabled = false;
      }
    })();
  });
  return press;
}

function scan(invoice: Invoice, status: HTMLElement): HTMLElement {
  const label = `QR code for ${sats(invoice.amountSats)}. Press to copy.`;
  const code = h("button", { type: "button", className: "qr", "aria-label": label, onclick: () => void copy(invoice, status) });
  code.append(qrCode(scannable(invoice.paymentRequest)));
  return h("div", { className: "scan" }, h("p", { className: "small" }, "Scan with a Lightning wallet, or press to copy."), code);
}

function links(invoice: Invoice, status: HTMLElement): HTMLElement {
  return h(
    "div",
    { className: "links" },
    h(
      "div",
      { className: "row" },
      h("a", { className: "btn ghost", href: `lightning:${invoice.paymentRequest}` }, "Open in wallet"),
      button("Copy invoice", () => void copy(invoice, status), quiet),
    ),
    h("code", { className: "invoice", tabIndex: 0 }, invoice.paymentRequest),
  );
}

async function copy(invoice: Invoice, status: HTMLElement): Promise<void> {
  try {
    await navigator.clipboard.writeText(invoice.paymentRequest);
    status.textContent = "Copied. Paste it in your wallet.";
    announce("Copied");
  } catch {
    status.textContent = "This browser does not let the page copy. Select the text below the code.";
  }
}

/** Only where the server says that it is one for trying things out. */
function testMode(invoice: Invoice, status: HTMLElement, look: () => void): HTMLElement | null {
  if (!facts().developmentRoutes) return null;
  const press = button(
    "Test mode: mark as paid",
    () => {
      press.disabled = true;
      void ask(`api/dev/stub/pay/${invoice.paymentHash}`, { body: {} })
        .then(look)
        .catch((trouble: unknown) => {
          status.textContent = said(trouble);
          press.disabled = false;
        });
    },
    { className: "btn ghost test", id: "test-pay" },
  );
  return press;
}

function countdown(invoice: Invoice, left: HTMLElement, lapsed?: () => void): () => void {
  const end = Date.parse(invoice.expiresAt);
  const whole = end - Date.now();
  const timer = window.setInterval(() => {
    const rest = end - Date.now();
    left.hidden = rest > whole * LAST_PART;
    const seconds = Math.max(0, Math.ceil(rest / 1000));
    left.textContent = seconds > 0 ? `Expires in ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}` : "Expired";
    if (rest > 0) return;
    clearInterval(timer);
    lapsed?.();
  }, TICK_MS);
  return () => clearInterval(timer);
}
