/** Where a job is on its way. */

import { h } from "../page/dom";

const STEPS = ["Ask", "Check fee", "Price", "Work", "Done"] as const;

export const TITLES: Record<string, string> = {
  awaiting_eval_payment: "Pay the check fee",
  evaluating: "Timmy is reading your request",
  awaiting_work_payment: "Timmy's price",
  executing: "Timmy is working",
  complete: "Done",
  rejected: "Timmy said no",
  failed: "It did not work",
  expired: "The time to pay is over",
};

export const WHERE: Record<string, number | "end"> = {
  ordering: 0,
  awaiting_eval_payment: 1,
  evaluating: 1,
  awaiting_work_payment: 2,
  executing: 3,
  complete: "end",
  rejected: "end",
  failed: "end",
  expired: "end",
};

export function steps(state: string): HTMLElement {
  const where = WHERE[state] ?? 0;
  const now = where === "end" ? STEPS.length - 1 : where;
  const went = state === "complete" || where !== "end";
  return h(
    "ol",
    { className: `steps${went ? "" : " stopped"}`, "aria-label": "Where your job is" },
    ...STEPS.map((step, n) => h("li", { className: n < now && went ? "done" : "", "aria-current": n === now ? "step" : null }, went || n < now ? step : "Over")),
  );
}
