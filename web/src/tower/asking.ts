/** A request that is paid from a balance: one question, one answer. */

import type { SessionRequest } from "../generated/api";
import { ask, fresh, Problem, said } from "../page/api";
import { alarm, announce, button, h, quiet, type Child } from "../page/dom";
import { openQuestion } from "../page/memory";
import { dollars, exact } from "../page/money";
import { answer, download } from "./answer";
import { folded, table, type Row } from "./costs";
import type { Around } from "./job";
import type { Panel, Shown } from "./panel";
import type { Purse } from "./purse";

const PATIENCE_MS = 180_000; // the answer comes when the work is done
const LOOK_EVERY_MS = 250;
const LOOKS_MAX = 40;
const FINAL = [400, 401, 402, 403, 404, 410, 422]; // nothing was begun, and nothing was paid

const FAILED = "That did not go through";
const TITLES: Record<string, string> = { complete: "Done", rejected: "Timmy said no", failed: "It did not work" };
const WORDS: Record<string, string> = { complete: "done", rejected: "turned down", failed: "it failed" };

interface Question {
  sessionId: string;
  key: Record<string, string>;
  request: string;
}

export function askFromBalance(panel: Panel, purse: Purse, request: string, around: Around): void {
  put(panel, purse, { sessionId: purse.id, key: fresh(), request }, around, true);
}

/** A question whose answer was not seen, because the page was left or loaded anew. */
export async function askAgain(panel: Panel, purse: Purse, around: Around): Promise<void> {
  const question = remembered();
  if (question?.sessionId !== purse.id) return;
  for (let looks = 0; purse.macaroon === "" && looks < LOOKS_MAX; looks++) await new Promise((then) => setTimeout(then, LOOK_EVERY_MS));
  if (purse.macaroon !== "") put(panel, purse, question, around, !panel.isOpen);
}

function remembered(): Question | null {
  try {
    return JSON.parse(openQuestion.get() ?? "null") as Question | null;
  } catch {
    return null;
  }
}

interface Stand {
  shown: Shown;
  words: string;
  isDue: boolean;
  isOver: boolean; // once it was seen, there is nothing to go back to
}

function put(panel: Panel, purse: Purse, question: Question, around: Around, isAtOnce: boolean): void {
  const { key, request } = question;
  const id = Object.values(key).join();
  let isAway = true;
  let stand: Stand;

  function open(): void {
    panel.take(() => (isAway = true));
    isAway = false;
    tell(stand);
  }

  function tell(now: Stand): void {
    stand = now;
    const own = { id, request, words: now.words, isDue: now.isDue, open };
    if (isAway) return around.own.moved(own);
    panel.show({ ...now.shown, focus: true });
    if (!now.isOver) return around.own.put(own);
    openQuestion.set(null);
    around.own.remove(id);
  }

  function attempt(): void {
    const busy = h("div", { className: "busy" }, h("progress", { "aria-label": "Working" }), purse.held());
    const shown = { title: "Timmy is working", body: [busy, h("blockquote", { className: "request" }, request)] };
    openQuestion.set(JSON.stringify(question));
    tell({ shown, words: "at work", isDue: false, isOver: false });
    announce("Timmy is working, paid from your balance");
    asked(purse, question)
      .then(async (made) => {
        around.taken();
        const title = TITLES[made.state] ?? made.state;
        const body = await told(made, purse);
        if (!isAway) announce(`${title}. ${exact(made.debitedMsat)} from your balance.`);
        tell({ shown: { title, body }, words: WORDS[made.state] ?? made.state, isDue: true, isOver: true });
      })
      .catch((trouble: unknown) => {
        if (!isAway) alarm(FAILED);
        const isOver = trouble instanceof Problem && FINAL.includes(trouble.status);
        const body = [h("p", { className: "err" }, said(trouble)), way(trouble, purse, attempt)];
        tell({ shown: { title: FAILED, body }, words: "did not go through", isDue: true, isOver });
      });
  }

  if (isAtOnce) {
    panel.take(() => (isAway = true));
    isAway = false;
  }
  attempt();
}

function asked(purse: Purse, { key, request }: Question): Promise<SessionRequest> {
  const headers = { ...key, Authorization: `Bearer ${purse.macaroon}` };
  return ask<SessionRequest>(`api/sessions/${purse.id}/request`, { body: { request }, headers, patienceMs: PATIENCE_MS });
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
