/** Who the visitor is, if they want to be somebody: a Nostr key, what it has earned, and what is free for it today. */

import type { Challenge, Login, Me } from "../generated/api";
import { at } from "../page/address";
import { ask, identify, Problem, said } from "../page/api";
import { alarm, announce, button, h, need, quiet, type Child } from "../page/dom";
import { nostrToken } from "../page/memory";
import { sats } from "../page/money";
import { nostrExtension } from "../page/wallets";
import type { Panel } from "./panel";

const HTTP_AUTH = 27_235; // NIP-98
const ABSENT = "No Nostr extension was found in this browser. You can use Timmy without one; to be known, install one such as nos2x or Alby and press again.";

export class Identity {
  private me: Me | null = null;
  private readonly button = need<HTMLButtonElement>("#who");

  constructor(
    private readonly panel: Panel,
    private readonly note: (line: string) => void,
    private readonly onChange: () => void,
  ) {
    const kept = nostrToken.get();
    if (kept) void this.take(kept);
  }

  /** What the pool may still give this key today. */
  get freeTodaySats(): number {
    return this.me?.today.leftSats ?? 0;
  }

  /** Figures change with each job; called when one has ended. */
  async refresh(): Promise<void> {
    if (this.me) await this.learn();
  }

  /** The button in the bar was pressed. */
  press(): void {
    if (this.me) this.open();
    else void this.signIn();
  }

  private async signIn(): Promise<void> {
    this.button.disabled = true;
    this.button.textContent = "Asking…";
    const { turn } = this.panel;
    try {
      const extension = await nostrExtension();
      if (extension === null) throw new Error(ABSENT);
      const { nonce } = await ask<Challenge>("api/identity/challenge", { body: {} });
      const tags = [["u", at("api/identity/verify").href], ["method", "POST"], ["challenge", nonce]];
      const event = await extension.signEvent({ kind: HTTP_AUTH, created_at: Math.floor(Date.now() / 1000), tags, content: "" });
      const login = await ask<Login>("api/identity/verify", { body: { event } });
      await this.take(login.nostr_token);
      this.welcome(turn);
    } catch (trouble) {
      this.note(said(trouble));
      alarm(said(trouble));
      if (this.panel.turn !== turn) return;
      this.panel.take(() => undefined);
      this.panel.show({ title: "Not signed in", body: [h("p", {}, said(trouble))], focus: true });
    } finally {
      this.button.disabled = false;
      this.tell();
    }
  }

  private async take(token: string): Promise<void> {
    identify(token);
    nostrToken.set(token);
    await this.learn();
  }

  private welcome(turn: number): void {
    if (!this.me) return;
    announce(`Signed in. Your tier is ${this.me.trust_tier}.`);
    this.note(`You are signed in: ${this.me.trust_tier}, ${sats(this.freeTodaySats)} free today.`);
    if (this.panel.turn === turn) this.open();
  }

  private async learn(): Promise<void> {
    try {
      this.me = await ask<Me>("api/identity/me");
    } catch (trouble) {
      if (!(trouble instanceof Problem) || trouble.status !== 401) return;
      this.note("Your sign-in has run out. Sign in again when you like.");
      this.signOut();
    }
    this.tell();
  }

  private signOut(): void {
    identify(null);
    nostrToken.set(null);
    this.me = null;
    this.tell();
  }

  private tell(): void {
    const { me } = this;
    this.button.replaceChildren(me ? `${short(me.npub)} · ${me.trust_tier}` : "Sign in", me ? "" : h("span", { className: "long" }, " with Nostr"));
    this.onChange();
  }

  private open(): void {
    this.panel.take(() => undefined);
    this.panel.show({ title: "You", body: this.me ? this.standing(this.me) : [], focus: true });
  }

  private standing(me: Me): Child[] {
    const { budgetSats, leftSats } = me.today;
    const next = me.nextTier;
    return [
      h("p", { className: "num" }, short(me.npub)),
      h("p", {}, "Your tier: ", h("strong", { className: "tier" }, me.trust_tier), ` (score ${me.score})`),
      h("p", { className: "small" }, next ? `${next.missing} more points to ${next.tier}. Each paid job brings some.` : "There is no higher tier."),
      h("h3", {}, "Free for you today"),
      budgetSats > 0
        ? h("div", {}, h("meter", { min: 0, max: budgetSats, low: budgetSats / 5, optimum: budgetSats, value: leftSats, "aria-label": "Free sats left today" }), h("p", { className: "num" }, `${leftSats} of ${sats(budgetSats)}, new at 00:00 UTC`))
        : h("p", { className: "small" }, "Nothing yet. Tiers above “new” get a part of Timmy's pool each day."),
      h("p", { className: "small" }, me.decay.explained),
      button("Sign out", () => {
        this.signOut();
        this.panel.close();
        announce("Signed out");
      }, quiet),
    ];
  }
}

const short = (npub: string): string => `${npub.slice(0, 9)}…${npub.slice(-4)}`;
