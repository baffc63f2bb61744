/** The landing page: one way in, whether somebody is at home, one free answer, and what it costs. */

import "../page/base.css";
import "./landing.css";
import { ask, said } from "../page/api";
import { h, need } from "../page/dom";
import { dollars, sats } from "../page/money";
import type { Demo, Estimate, Pool, SiteFacts } from "../generated/api";
import type { WorldState } from "../generated/socket";
import { rain } from "./rain";

const PATIENCE_MS = 60_000;
const EXAMPLE = "Write a haiku about rain.";

async function tellStatus(): Promise<void> {
  const status = need("#status");
  try {
    const world = await ask<WorldState>("api/world/state");
    const there = world.visitors === 0 ? "nobody inside" : world.visitors === 1 ? "1 visitor" : `${world.visitors} visitors`;
    status.textContent = `The tower is open · ${there} · pool: ${sats(world.pool.balanceSats)} to give`;
    status.dataset.open = "yes";
  } catch {
    await tellLess(status);
  }
}

async function tellLess(status: HTMLElement): Promise<void> {
  try {
    const pool = await ask<Pool>("api/pool");
    status.textContent = `The tower is open · pool: ${sats(pool.balanceSats)} to give`;
    status.dataset.open = "yes";
  } catch {
    status.textContent = "Nobody answers just now. Try the door all the same.";
    status.dataset.open = "no";
  }
}

function offerAnAnswer(): void {
  const form = need<HTMLFormElement>("#try");
  const free = need("#free");
  const question = need<HTMLInputElement>("#question");
  const press = need<HTMLButtonElement>("#try button");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const request = question.value.trim();
    if (request === "") return;
    press.disabled = true;
    free.replaceChildren(h("p", { className: "small" }, "Timmy is thinking…"));
    ask<Demo>("api/demo", { body: { request }, patienceMs: PATIENCE_MS })
      .then((told) => free.replaceChildren(...answered(told)))
      .catch((trouble: unknown) => free.replaceChildren(h("p", { className: "err" }, said(trouble))))
      .finally(() => (press.disabled = false));
  });
}

/** Where the server cannot say it now, it says so to whoever writes too much. */
async function tellLimit(): Promise<void> {
  const facts = await ask<SiteFacts>("api/site").catch(() => null);
  if (facts !== null) need<HTMLInputElement>("#question").maxLength = facts.requestCharsMax;
}

function answered({ result, reason, truncated, left }: Demo): HTMLElement[] {
  const more = left > 0 ? `${left} more ${left === 1 ? "is" : "are"} free this hour.` : "That was the last free one this hour.";
  const cut = truncated ? "A free answer is short; this one was cut. " : "";
  return [
    h("p", { className: "said", tabIndex: 0 }, result ?? reason ?? "Timmy would rather not."),
    h("p", { className: "small" }, `${cut}${more} In the workshop there is as much as you pay for.`),
  ];
}

function tellCosts(): void {
  need("#cost").addEventListener("toggle", () => void example(), { once: true });
}

async function example(): Promise<void> {
  try {
    const estimate = await ask<Estimate>("api/estimate", { body: { request: EXAMPLE } });
    need("#cost-example").textContent =
      `“${EXAMPLE}” ${sats(estimate.evalFeeSats)} to read, ` +
      `at most ${sats(estimate.estimatedSats)} for the work (${dollars(estimate.estimatedCostUsd)} of cost, with ${estimate.pricingBreakdown.marginPct} % on top).`;
  } catch {
    need("#cost-example").textContent = "";
  }
}

rain(need<HTMLCanvasElement>("#rain"));
offerAnAnswer();
tellCosts();
void tellLimit();
void tellStatus();
