/** A session: sats paid ahead, a balance that moves as they are spent, and the way back. */

import type { Invoice, Session, SessionOpened } from "../generated/api";
import { ask, fresh, Problem, said } from "../page/api";
import { alarm, announce, button, h, isReduced, need, quiet, type Child } from "../page/dom";
import { follow, type Following } from "../page/follow";
import { currentSession } from "../page/memory";
import { exact, sats } from "../page/money";
import { facts } from "./facts";
import { isPutAway } from "./late";
import type { Panel } from "./panel";
import { paySheet, type Sheet } from "./pay";
import { payoutForm, refundState } from "./refund";

const AMOUNTS_SATS = [500, 2_000, 10_000];
const LOW_PART = 0.2; // of what was last put in
const MOVE_MS = 400;

interface Balance {
  balanceSats: number;
  balanceMsat: number;
  reason?: string;
  debitedMsat?: number;
}

export class Purse {
  id = "";
  macaroon = "";
  private session: Session | null = null;
  private following: Following | null = null;
  private sheet: Sheet | null = null;
  private isShown = false;
  private isClosing = false;
  private full = 0; // what a full purse is taken to be, for the gauge
  private last = "";
  private shownSats = 0;
  private readonly press = need<HTMLButtonElement>("#purse");
  private readonly heldLine = h("p", { className: "small num" });

  constructor(
    private readonly panel: Panel,
    private readonly note: (line: string) => void,
    private readonly onChange: () => void,
  ) {
    const known = currentSession.get();
    if (known) this.watch(known);
  }

  /** Whether a request can be paid from it. */
  get isReady(): boolean {
    return this.session?.state === "active" && this.macaroon !== "";
  }

  get balanceSats(): number {
    return this.session?.balanceSats ?? 0;
  }

  /** A line that says what is held while a request runs; it changes by itself. */
  held(): HTMLElement {
    return this.heldLine;
  }

  open(): void {
    this.panel.take(() => {
      this.isShown = false;
      this.isClosing = false;
      this.sheet?.stop();
      this.sheet = null;
    });
    this.isShown = true;
    this.draw(true);
  }

  private watch(id: string): void {
    this.id = id;
    this.following?.stop();
    this.following = follow<Session>(`api/sessions/${id}`, "session", {
      whole: (session) => this.changed(session),
      news: { balance: (told) => this.moved(told as unknown as Balance) },
      lost: () => void this.lost(),
    });
    void this.following.look();
  }

  private async lost(): Promise<void> {
    if (this.session !== null) return;
    await ask(`api/sessions/${this.id}`).catch((trouble: unknown) => {
      if (trouble instanceof Problem && trouble.status === 404) this.forget();
    });
  }

  /** For another one. What is owed to it, or still arrives, is found again by its id. */
  private putAway(): void {
    isPutAway(this.id);
    this.forget();
  }

  private forget(): void {
    this.following?.stop();
    currentSession.set(null);
    [this.session, this.following, this.id, this.macaroon, this.last] = [null, null, "", "", ""];
    this.tell();
    if (this.isShown) this.draw(true);
  }

  private changed(session: Session): void {
    const before = this.session;
    this.session = session;
    if (session.macaroon) this.macaroon = session.macaroon;
    if (before?.state === "awaiting_payment" && session.state === "active") {
      announce("Payment received. Your balance is ready.");
      this.note("Your payment has arrived.");
    }
    if (this.macaroon === "" && (session.state === "active" || session.state === "paused")) void this.fetchKey();
    if (session.balanceSats > (before?.balanceSats ?? 0)) this.full = session.balanceSats;
    this.heldLine.textContent = session.heldMsat > 0 ? `Held from your balance meanwhile: ${exact(session.heldMsat)}` : "";
    const reshaped = before?.state !== session.state || before?.pendingTopup?.paymentHash !== session.pendingTopup?.paymentHash || JSON.stringify(before?.refund) !== JSON.stringify(session.refund);
    this.tell();
    if (this.isShown) this.draw(reshaped && before?.state !== session.state, !reshaped);
    if (session.state === "expired" && session.refund.owedSats === 0 && session.balanceMsat === 0) this.following?.stop();
  }

  private async fetchKey(): Promise<void> {
    const whole = await ask<Session>(`api/sessions/${this.id}`).catch(() => null);
    if (!whole?.macaroon) return;
    this.macaroon = whole.macaroon;
    this.tell();
    if (this.isShown) this.draw(false);
  }

  private moved(balance: Balance): void {
    if (this.session === null) return;
    if (balance.debitedMsat) this.last = `The last request took ${exact(balance.debitedMsat)}.`;
    this.changed({ ...this.session, balanceSats: balance.balanceSats, balanceMsat: balance.balanceMsat });
  }

  /** The button in the bar, and whoever else wants to know. */
  private tell(): void {
    const state = this.session?.state;
    const target = this.balanceSats;
    if (state === "active" || state === "paused") this.count(target);
    else this.press.textContent = state === "awaiting_payment" ? "Balance: unpaid" : "Balance";
    this.press.classList.toggle("low", state === "paused" || (state === "active" && target < this.full * LOW_PART));
    this.onChange();
  }

  private count(target: number): void {
    const from = this.shownSats;
    this.shownSats = target;
    if (isReduced() || from === target || document.hidden) {
      this.press.textContent = sats(target);
      return;
    }
    const began = performance.now();
    const step = (now: number): void => {
      if (this.shownSats !== target) return; // it has moved on
      const part = Math.min(1, (now - began) / MOVE_MS);
      this.press.textContent = sats(Math.round(from + (target - from) * part));
      if (part < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  /** `inPlace`: only figures have changed, so what somebody is typing stays. */
  private draw(focus: boolean, inPlace = false): void {
    if (inPlace && (this.sheet !== null || this.isClosing || document.activeElement instanceof HTMLInputElement)) return;
    this.sheet?.stop();
    this.sheet = null;
    this.panel.show({ title: "Balance", body: this.body(), focus });
  }

  private body(): Child[] {
    const session = this.session;
    if (session === null) return this.beginning();
    switch (session.state) {
      case "awaiting_payment":
        return [this.pay(session.invoice, "To fill your balance"), button("Not now", () => this.putAway(), quiet)];
      case "active":
      case "paused":
        return this.isClosing ? this.closing(session) : this.standing(session);
      default:
        return this.over(session);
    }
  }

  private beginning(): Child[] {
    return [
      h("p", {}, "Pay once, then ask as often as the balance lasts: no invoice for each question, and each takes only what it really cost. What is left goes back to you whenever you want."),
      this.amounts("Put in", async (amountSats) => {
        const made = await ask<SessionOpened>("api/sessions", { body: { amountSats }, headers: fresh() });
        currentSession.set(made.sessionId);
        this.watch(made.sessionId);
      }),
    ];
  }

  private standing(session: Session): Child[] {
    if (session.pendingTopup) return [this.pay(session.pendingTopup, "To add to your balance"), this.key()];
    const part = this.full > 0 ? session.balanceSats / this.full : 0;
    return [
      h("p", { className: "amount num" }, sats(session.balanceSats)),
      h("meter", { min: 0, max: 1, low: LOW_PART, optimum: 1, value: Math.min(1, part), "aria-label": "How full your balance is" }),
      session.state === "paused"
        ? h("p", { className: "warn" }, `This is less than the ${sats(session.minimumBalanceSats)} that a request needs. Add some to go on.`)
        : h("p", { className: "small" }, "Hire pays from it. You are never charged more than a request cost."),
      this.last ? h("p", { className: "small num" }, this.last) : null,
      this.amounts("Add", (amountSats) => this.topUp(amountSats)),
      this.key(),
      h("p", { className: "small" }, `It ends on ${day(session.expiresAt)} unless it is used. What is in it then can still be taken back.`),
      h("div", { className: "row" }, button("Close and take the rest", () => this.close(), quiet)),
    ];
  }

  private async topUp(amountSats: number): Promise<void> {
    try {
      await ask<Invoice>(`api/sessions/${this.id}/topup`, { body: { amountSats }, headers: fresh() });
    } catch (trouble) {
      if (!(trouble instanceof Problem) || trouble.status !== 409) throw trouble; // 409: one is waiting already, and is shown
    }
    await this.following?.look();
  }

  private close(): void {
    this.isClosing = true;
    this.draw(true);
  }

  private closing(session: Session): Child[] {
    const { balanceSats } = session;
    const stay = button("Keep it open", () => {
      this.isClosing = false;
      this.draw(true);
    }, quiet);
    return [h("p", {}, "Where should the rest go?"), h("p", { className: "amount num" }, sats(balanceSats)), this.payout(balanceSats), stay];
  }

  private payout(amountSats: number): HTMLElement {
    return payoutForm({
      amountSats,
      button: `Send me the ${sats(amountSats)}`,
      send: async (place) => {
        const headers = { ...fresh(), Authorization: `Bearer ${this.macaroon}` };
        await ask<Session>(`api/sessions/${this.id}/close`, { body: place, headers });
        this.isClosing = false;
        this.note(`Your balance is closed; ${sats(amountSats)} go back to you.`);
        await this.following?.look(); // not what was answered: the stream may have told meanwhile that the sats have arrived
      },
    });
  }

  private over(session: Session): Child[] {
    const claimable = session.refund.owedSats > 0 && session.refund.destination === null;
    const left = claimable ? session.refund.owedSats : 0;
    return [
      h("p", {}, session.closedAt ? "This balance is closed." : "Nobody paid in time, or it was not used for long, so it has ended."),
      refundState(session.refund),
      left > 0 && this.macaroon ? this.payout(left) : null,
      button("New balance", () => this.putAway()),
    ];
  }

  private pay(invoice: Invoice, what: string): HTMLElement {
    const look = (): void => void this.following?.look();
    this.sheet = paySheet({ invoice, what, look, lapsed: look });
    return this.sheet.element;
  }

  private amounts(verb: string, then: (amountSats: number) => Promise<void>): HTMLElement {
    const { sessionMinSats, sessionMaxSats } = facts();
    const trouble = h("p", { className: "err", role: "alert" });
    const run = (amountSats: number): void => {
      trouble.textContent = "";
      then(amountSats).catch((problem: unknown) => {
        alarm("That did not go through");
        trouble.textContent = said(problem);
      });
    };
    const fitting = AMOUNTS_SATS.filter((amount) => amount >= sessionMinSats && amount <= sessionMaxSats);
    const input = h("input", { id: "other-amount", className: "field num", type: "number", inputMode: "numeric", min: String(sessionMinSats), max: String(sessionMaxSats), required: true });
    const onsubmit = (event: Event): void => {
      event.preventDefault();
      run(Number(input.value));
    };
    return h(
      "div",
      { className: "amounts" },
      h("div", { className: "row" }, ...fitting.map((amount) => button(`${verb} ${amount.toLocaleString("en")}`, () => run(amount), quiet))),
      h("form", { className: "other", onsubmit }, h("label", { htmlFor: "other-amount" }, "Another amount, in sats"), input, h("button", { type: "submit", className: "btn ghost" }, verb)),
      trouble,
    );
  }

  private key(): HTMLElement | null {
    if (this.macaroon === "") return null;
    const copy = button("Copy key", () => {
      void navigator.clipboard.writeText(this.macaroon).then(
        () => {
          copy.textContent = "Copied";
          announce("Key copied");
        },
        () => (copy.textContent = "This browser does not let the page copy"),
      );
    }, quiet);
    return h(
      "div",
      { className: "key" },
      h("p", {}, h("code", {}, `${this.macaroon.slice(0, 4)}••••${this.macaroon.slice(-4)}`), " This key is your money. Keep it; programs can use it too."),
      copy,
    );
  }
}

const day = (iso: string): string => new Date(iso).toLocaleDateString("en", { day: "numeric", month: "long", year: "numeric" });
