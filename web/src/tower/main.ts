/** The workshop: everything is here as a page, and the scene behind it shows the same as a picture. */

import "../page/base.css";
import "./tower.css";
import { announce, need } from "../page/dom";
import { currentJob, currentSession, nostrToken, openQuestion } from "../page/memory";
import { sats } from "../page/money";
import { Agents } from "./agents";
import { Bubble } from "./bubble";
import { facts, learnFacts } from "./facts";
import type { Identity } from "./identity";
import { Journal, QUIET } from "./journal";
import { takeUpSession } from "./late";
import { NAMES, unmet, type JobNews, type PaymentNews, type Recent, type ServerMessage, type WorldState } from "./messages";
import { OwnWork } from "./own";
import { Panel } from "./panel";
import { PoolGauge } from "./pool";
import { PriceLine } from "./price";
import type { Purse } from "./purse";
import { openLine } from "./socket";
import { Stage } from "./stage";

const JOB_WORDS: Partial<Record<JobNews["state"], string>> = {
  evaluating: "A request is being read.",
  awaiting_work_payment: "A price was named.",
  executing: "Work has begun.",
  complete: "Work is done.",
  rejected: "A request was turned down.",
  failed: "A job failed; what was paid for it goes back.",
};

const root = document.documentElement;
const box = need<HTMLTextAreaElement>("#message");
const form = need<HTMLFormElement>("#say");
const connection = need("#connection");
const panel = new Panel();
const journal = new Journal();
const agents = new Agents();
const pool = new PoolGauge(panel);
const stage = new Stage(panel);
const bubble = new Bubble((agentId) => stage.over(agentId));
let messageCharsMax = 250;
let wasOpen = false;
const myWords = new Set<number>(); // by their numbers

const note = (text: string): void => journal.line("note", text);
const price = new PriceLine(() => ({ isReady: purse?.isReady ?? false, balanceSats: purse?.balanceSats ?? 0 }));
let purse: Purse | null = null;
let identity: Identity | null = null;

const own = new OwnWork(panel, { note, open: (jobId) => void resume(jobId).catch(unreachable) });

stage.onNote = note;
stage.onMove = () => bubble.place();

// What the server tells ------------------------------------------------------------------------------------

function told(message: ServerMessage): void {
  switch (message.type) {
    case "world_state":
      return begin(message);
    case "agent_state":
      agents.show(message.agentId, message.state, message.doing, message.at);
      return stage.agent(message.agentId, message.state);
    case "chat":
    case "job":
    case "payment":
      return happened(message, true);
    case "pool":
      return showPool(message);
    case "visitors":
      return showVisitors(message.count);
    case "error":
      journal.line("note", message.error);
      return announce(message.error);
    case "pong":
      return;
    default:
      return unmet(message);
  }
}

function begin(world: WorldState): void {
  messageCharsMax = world.limits.messageCharsMax;
  journal.clear();
  for (const agent of world.agents) {
    agents.show(agent.agentId, agent.state, agent.doing, agent.since);
    stage.agent(agent.agentId, agent.state);
  }
  showPool(world.pool);
  showVisitors(world.visitors);
  for (const event of world.recent) happened(event, false);
  if (journal.isQuiet) note(QUIET);
}

/** `isNew`: it happens now, so the scene plays it; what is only told again is written down. */
function happened(event: Recent, isNew: boolean): void {
  if (event.type === "chat") {
    if (event.mine === true && event.cursor) myWords.add(event.cursor);
    const mine = event.mine === true || myWords.has(event.cursor ?? 0); // another process, after a break, does not know whose they are
    const who = mine ? "you" : (NAMES[event.agentId] ?? event.agentId);
    journal.line(mine ? "mine" : "said", event.text, who, event.at, !isNew);
    if (!isNew) return;
    stage.spoke(event.agentId);
    if (event.agentId === "visitor") return;
    bubble.say(event.agentId, who, event.text);
    return announce(`${who} says: ${event.text}`);
  }
  if (event.type === "payment") journal.line("money", paid(event), "", event.at, !isNew);
  else if (JOB_WORDS[event.state]) journal.line("work", JOB_WORDS[event.state] ?? "", "", event.at, !isNew);
  if (isNew) own.hint();
  if (isNew && event.type === "payment") stage.payment(event.purpose === "refund" ? "out" : "in", event.amountSats);
  if (isNew && event.type === "job") stage.job(event.state);
}

function paid(event: PaymentNews): string {
  return event.purpose === "refund" ? `${sats(event.amountSats)} went back to a customer.` : `${sats(event.amountSats)} came in.`;
}

function showPool(figures: WorldState["pool"]): void {
  pool.show(figures);
  stage.pool(pool.level);
}

function showVisitors(count: number): void {
  need("#visitors").textContent = count === 1 ? "You are alone here" : `${count} visitors`;
}

const line = openLine({
  told,
  opened() {
    root.dataset.line = "open";
    connection.textContent = "";
    if (wasOpen) announce("Connected again");
    wasOpen = true;
  },
  lost() {
    if (root.dataset.line !== "lost" && wasOpen) {
      note("The connection is lost. Trying again…");
      announce("Connection lost, trying again");
    }
    root.dataset.line = "lost";
    connection.textContent = "Not connected. Trying again…";
  },
});

// What the visitor does ------------------------------------------------------------------------------------

function say(text: string): void {
  if (text.length > messageCharsMax) return complain(`Talk takes at most ${messageCharsMax} characters; this has ${text.length}. Hire takes more.`);
  if (!line.say({ type: "visitor_message", text })) return complain("Not connected. Your words are still in the box.");
  box.value = "";
  price.typed();
}

const ONE_PRESS_MS = 1_000;
let ordered = { text: "", at: -ONE_PRESS_MS };

/** A double click is one order: two of them would be paid for. */
function isPressedTwice(text: string): boolean {
  const now = performance.now();
  if (text === ordered.text && now - ordered.at < ONE_PRESS_MS) return true;
  ordered = { text, at: now };
  return false;
}

function hire(text: string): void {
  if (isPressedTwice(text)) return;
  if (text.length > facts().requestCharsMax) return complain(`A request has at most ${facts().requestCharsMax} characters; this has ${text.length}.`);
  const payer = purse;
  if (payer?.isReady) void import("./asking").then(({ askFromBalance }) => askFromBalance(panel, payer, text, around), unreachable);
  else void import("./job").then(({ JobFlow }) => JobFlow.order(panel, text, around), unreachable);
}

/** The parts of the page that are needed now and then are loaded when they are. */
function unreachable(trouble: unknown): void {
  console.warn(trouble);
  complain("A part of this page could not be loaded. Your words are still in the box; try again.");
}

async function getPurse(): Promise<Purse> {
  const { Purse } = await import("./purse");
  purse ??= new Purse(panel, note, () => price.typed());
  return purse;
}

async function getIdentity(): Promise<Identity> {
  const { Identity } = await import("./identity");
  identity ??= new Identity(panel, note, () => price.typed());
  return identity;
}

async function resume(jobId: string): Promise<void> {
  const { JobFlow } = await import("./job");
  JobFlow.resume(panel, jobId, around);
}

/** The words were taken: the box is free for the next ones. */
function ended(): void {
  box.value = "";
  price.typed();
  void identity?.refresh();
}

const around = { again: hire, note, taken: ended, own };

function complain(text: string): void {
  need("#price").textContent = text;
  announce(text);
  box.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = box.value.trim();
  if (text === "") return complain("Write something first.");
  const verb = (event.submitter as HTMLButtonElement | null)?.value ?? "say";
  if (verb === "hire") hire(text);
  else say(text);
});

box.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit(need<HTMLButtonElement>("#say-button"));
});

need("#purse").addEventListener("click", () => void getPurse().then((mine) => mine.open(), unreachable));
need("#who").addEventListener("click", () => void getIdentity().then((me) => me.press(), unreachable));

async function start(): Promise<void> {
  await learnFacts();
  if (currentSession.get() !== null || (await takeUpSession())) await getPurse();
  if (nostrToken.get() !== null) await getIdentity();
  const known = currentJob.get();
  if (known !== null) await resume(known);
  const payer = purse;
  if (payer !== null && openQuestion.get() !== null) void import("./asking").then(({ askAgain }) => askAgain(panel, payer, around), unreachable);
  void own.begin();
  root.dataset.ready = "yes";
}

void start().catch(unreachable);
void stage.raise();
