/** A request that is paid from a balance: one question, one answer. */

import type { SessionRequest } from "../generated/api";
import { ask, fresh, Problem, said } from "../page/api";
import { alarm, announce, button, h, quiet, type Child } from "../page/dom";
import { openQuestion } from "../page/memory";
import { dollars, exact } from "../page/money";
import { answer, download } from "./answer";
import { folded, table, type Row } from "./costs";
import type { Panel } from "./panel";
import type { Purse } from "./purse";

const PATIENCE_MS = 180_000; // the answer comes when the work is done
const LOOK_EVERY_MS = 250;
const LOOKS_MAX = 40;
const FINAL = [400, 401, 402, 403, 404, 410, 422]; // nothing was begun, and nothing was paid

const TITLES: Record<string, string> = { complete: "Done", rejected: "Timmy said no", failed: "It did not work" };

interface Question {
  sessionId: string;
  key: Record<string, string>;
  request: string;
}

export function askFromBalance(panel: Panel, purse: Purse, request: string, onDone: () => void): void {
  put(panel, purse, { sessionId: purse.id, key: fresh(), request }, onDone);
}

/** A question whose answer was not seen, because the page was left or loaded anew. */
export async function askAgain(panel: Panel, purse: Purse, onDone: () => void): Promise<void> {
  const question = remembered();
  if (question?.sessionId !== purse.id) return;
  for (let looks = 0; purse.macaroon === "" && looks < LOOKS_MAX; looks++) await new Promise((then) => setTimeout(then, LOOK_EVERY_MS));
  if (purse.macaroon !== "" && !panel.isOpen) put(panel, purse, question, onDone);
}

function remembered(): Question | null {
  try {
    return JSON.parse(openQuestion.get() ?? "null") as Question | null;
  } catch {
    return null;
  }
}

function put(panel: Panel, purse: Purse, question: Question, onDone: () => void): void {
  const { key, request } = question;
  let isOver = false;
  panel.take(() => (isOver = true));
  openQuestion.set(JSON.stringify(question));
  const attempt = (): void => {
    const busy = h("div", { className: "busy" }, h("progress", { "aria-label": "Working" }), purse.held());
    panel.show({ title: "Timmy is working", body: [busy, h("blockquote", { className: "request" }, request)], focus: true });
    announce("Timmy is working, paid from your balance");
    ask<SessionRequest>(`api/sessions/${purse.id}/request`, {
      body: { request },
      headers: { ...key, Authorization: `Bearer ${purse.macaroon}` },
      patienceMs: PATIENCE_MS,
    })
      .then(async (made) => {
        onDone();
        const body = await told(made, purse);
        if (isOver && panel.isOpen) return; // something else is being looked at: it is shown when the page is next opened
        openQuestion.set(null);
        panel.show({ title: TITLES[made.state] ?? made.state, body, focus: !isOver });
        announce(`${TITLES[made.state] ?? made.state}. ${exact(made.debitedMsat)} from your balance.`);
      })
      .catch((trouble: unknown) => {
        if (trouble instanceof Problem && FINAL.includes(trouble.status)) openQuestion.set(null);
        if (isOver) return;
        alarm("That did not go through");
        panel.show({ title: "That did not go through", body: [h("p", { className: "err" }, said(trouble)), way(trouble, purse, attempt)], focus: true });
      });
  };
  attempt();
}

function way(trouble: unknown, purse: Purse, attempt: () => void): HTMLElement {
  const isShort = trouble instanceof Problem && trouble.status === 402;
  return isShort ? button("Add sats", () => purse.open()) : button("Try again", attempt, quiet);
}

async function told(made: SessionRequest, purse: Purse): Promise<Child[]> {
  return [
    made.reason ? h("p", { className: "reason" }, made.reason) : null,
    made.result === null ? null : await answer(made.result, "timmy"),
    bill(made),
    h("div", { className: "row" }, button("Balance", () => purse.open(), quiet), button("Save receipt", () => void receipt(made, purse), quiet)),
  ];
}

function bill(made: SessionRequest): HTMLElement {
  const rows: Row[] = [];
  if (made.cost) rows.push(["Held while Timmy worked", exact(made.cost.reservedMsat)]);
  if (made.absorbedMsat > 0) rows.push(["Timmy paid for you", exact(made.absorbedMsat)]);
  rows.push(["From your balance", exact(made.debitedMsat), "sum"], ["What is left", exact(made.balanceRemainingMsat)]);
  const used = made.cost;
  const details = used
    ? folded(
        "What the model used",
        table("What the model used", [
          ["Model", used.workModel],
          ["Tokens", `${used.inputTokens} in, ${used.outputTokens} out`],
          ["What they cost Timmy", dollars(used.actualCostUsd)],
        ]),
      )
    : null;
  return h("section", { className: "costs", "aria-label": "What it cost" }, table("What it cost", rows), details);
}

async function receipt(made: SessionRequest, purse: Purse): Promise<void> {
  try {
    const signed = await ask(`api/sessions/${purse.id}/requests/${made.requestId}/receipt`, { headers: { Authorization: `Bearer ${purse.macaroon}` } });
    download(JSON.stringify(signed, null, 2), "timmy-receipt.json", "application/json");
  } catch (trouble) {
    alarm(said(trouble));
  }
}
