/** The generosity pool: a gauge in the bar, and what it is about. */

import type { Pool } from "../generated/api";
import { ask, said } from "../page/api";
import { h, need, type Child } from "../page/dom";
import { sats } from "../page/money";
import { table, type Row } from "./costs";
import type { Panel } from "./panel";
import type { PoolFigures } from "./messages";

const SMALL_JOB_SATS = 40;

export class PoolGauge {
  private readonly press = need<HTMLButtonElement>("#pool");
  private readonly figure = need("#pool-sats");
  private readonly meter = need<HTMLMeterElement>("#pool-meter");
  private full = 0;
  balanceSats = 0;

  constructor(private readonly panel: Panel) {
    this.press.addEventListener("click", () => void this.open());
  }

  /** A pool knows no limit: full is what it was given and earned in all. */
  get level(): number {
    return this.full > 0 ? Math.min(1, this.balanceSats / this.full) : 0;
  }

  show(figures: PoolFigures): void {
    this.balanceSats = figures.balanceSats;
    this.full = Math.max(1, figures.balanceSats + figures.givenSats);
    const [figure, unit] = sats(figures.balanceSats).split(" ");
    this.figure.replaceChildren(figure ?? "", h("span", { className: "unit" }, ` ${unit}`));
    this.meter.value = this.level;
    this.meter.textContent = `${Math.round(this.level * 100)} %`;
  }

  private async open(): Promise<void> {
    let isOver = false;
    this.panel.take(() => (isOver = true));
    this.panel.show({ title: "The pool", body: [h("progress", { "aria-label": "Looking" })], focus: true });
    try {
      const pool = await ask<Pool>("api/pool");
      this.show(pool);
      if (!isOver) this.panel.show({ title: "The pool", body: this.about(pool) });
    } catch (trouble) {
      if (!isOver) this.panel.show({ title: "The pool", body: [h("p", { className: "err" }, said(trouble))] });
    }
  }

  private about(pool: Pool): Child[] {
    const jobs = Math.floor(pool.availableSats / SMALL_JOB_SATS);
    const budgets: Row[] = Object.entries(pool.dailyBudgets).map(([tier, amount]) => [tier, `${sats(amount)} a day`]);
    return [
      h("p", { className: "amount num" }, sats(pool.balanceSats)),
      h("meter", { min: 0, max: 1, low: 0.1, optimum: 1, value: this.level, "aria-label": "How full the pool is" }),
      pool.availableSats > 0
        ? h("p", {}, `Timmy can pay for about ${jobs.toLocaleString("en")} small jobs. A part of every paid job goes in; people he knows get some of it back, day by day.`)
        : h("p", {}, "The pool is empty. Jobs cost the usual price."),
      table("So far", [
        ["Put in by paid work", sats(pool.earnedSats)],
        ["Given away", sats(pool.givenSats)],
        ["Given away today", sats(pool.today.givenSats)],
        ["Promised to work under way", sats(pool.reservedSats)],
      ]),
      table("What each tier may have", budgets),
      h("h3", {}, "Why somebody pays the full price"),
      h("ul", { className: "why" }, ...pool.whyNot.map(({ why }) => h("li", {}, why))),
    ];
  }
}
