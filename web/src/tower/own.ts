/** What the visitor has ordered here, and the way back to each of it: a button in the bar, from the order until its end has been seen and
 *  nothing of it is owed any more. */

import type { Job } from "../generated/api";
import { ask, Problem } from "../page/api";
import { announce, h, need } from "../page/dom";
import { Ids, lateJobs, ownJobs } from "../page/memory";
import { sats } from "../page/money";
import type { Panel } from "./panel";

const RUNNING_AGAIN_MS = 5_000;
const HIDDEN_AGAIN_MS = 20_000;
const LATE_AGAIN_MS = 60_000; // what was not paid in time may still be
const HINT_GAP_MS = 1_000; // something happened in the house: perhaps to one of these
const REQUEST_CHARS = 60;
const ENDED = ["complete", "rejected", "failed", "expired"];

const WORDS: Partial<Record<string, string>> = {
  awaiting_eval_payment: "pay the check fee",
  evaluating: "being read",
  awaiting_work_payment: "pay the price",
  executing: "at work",
  complete: "done",
  rejected: "turned down",
  failed: "it failed",
  expired: "not paid in time",
};

export interface Own {
  id: string;
  request: string;
  words: string; // where it stands
  isDue: boolean; // it waits for the visitor
  open(): void;
}

interface Row extends Own {
  press: HTMLButtonElement;
  said: HTMLElement;
}

export interface Doors {
  open(jobId: string): void;
  note(line: string): void;
}

export class OwnWork {
  private readonly rows = new Map<string, Row>();
  private readonly unseen = new Ids(ownJobs);
  private readonly late = new Ids(lateJobs);
  private readonly ended = new Set<string>();
  private readonly press = need<HTMLButtonElement>("#own");
  private readonly list = h("ul", { className: "own" });
  private inView = "";
  private timer = 0;
  private lookedAt = 0;

  constructor(
    private readonly panel: Panel,
    private readonly doors: Doors,
  ) {
    this.press.addEventListener("click", () => this.enter());
  }

  /** When the page has loaded: an end that nobody saw, or sats that wait, are shown where nothing else is. */
  async begin(): Promise<void> {
    await this.look();
    const due = [...this.rows.values()].find((row) => this.ended.has(row.id) && row.words !== WORDS.expired);
    if (due && !this.panel.isOpen) due.open();
  }

  ordered(jobId: string): void {
    this.unseen.keep(jobId);
    this.plan();
  }

  /** It is on the screen as it stands. */
  seen(job: Job): void {
    this.inView = job.jobId;
    if (!ENDED.includes(job.state)) this.unseen.keep(job.jobId);
    else {
      this.unseen.drop(job.jobId);
      this.late.keep(job.jobId);
    }
    this.take(job);
    this.plan();
  }

  left(): void {
    this.inView = "";
    this.plan();
  }

  /** This server does not know it (any more). */
  gone(jobId: string): void {
    this.unseen.drop(jobId);
    this.late.drop(jobId);
    this.remove(jobId);
  }

  /** Something happened in the house. */
  hint(): void {
    if (this.isRunning) this.plan(HINT_GAP_MS);
  }

  put(own: Own): void {
    const before = this.rows.get(own.id);
    if (before) {
      before.said.textContent = own.words;
      Object.assign(before, own);
    } else {
      const said = h("span", { className: "small" }, own.words);
      const press = h("button", { type: "button", className: "btn ghost", onclick: () => this.rows.get(own.id)?.open() }, h("span", {}, short(own.request)), said);
      this.list.append(h("li", {}, press));
      this.rows.set(own.id, { ...own, press, said });
    }
    this.tell();
  }

  remove(id: string): void {
    this.rows.get(id)?.press.parentElement?.remove();
    this.rows.delete(id);
    this.tell();
  }

  /** As `put`, and said, where nobody is looking at it. */
  moved(own: Own): void {
    const before = this.rows.get(own.id)?.words;
    this.put(own);
    if (before === undefined || before === own.words || own.id === this.inView) return;
    announce(`Your job: ${own.words}`);
    this.doors.note(`Your job: ${own.words}.`);
  }

  private take(job: Job): void {
    const id = job.jobId;
    const { owedSats, paidSats, destination } = job.refund;
    const claimableSats = destination === null ? owedSats : 0;
    const isOver = ENDED.includes(job.state);
    if (isOver) this.ended.add(id);
    // What was not paid in time may still be, and a refund on its way may come back: both are looked after, and are nothing to go back to.
    if (this.late.has(id) && owedSats === 0 && (paidSats > 0 || job.state !== "expired")) this.late.drop(id);
    if (!this.unseen.has(id) && claimableSats === 0) return this.remove(id);
    this.moved({
      id,
      request: job.request,
      words: claimableSats > 0 ? `${sats(claimableSats)} to take back` : (WORDS[job.state] ?? job.state),
      isDue: isOver || job.state.startsWith("awaiting_"),
      open: () => this.doors.open(id),
    });
  }

  private enter(): void {
    const rows = [...this.rows.values()];
    if (rows.length === 1) return rows[0]?.open();
    this.panel.take(() => undefined);
    this.panel.show({ title: "Your jobs", body: [this.list], focus: true });
  }

  private tell(): void {
    const rows = [...this.rows.values()];
    this.press.hidden = rows.length === 0;
    this.press.classList.toggle("ghost", !rows.some((row) => row.isDue));
    const one = rows.length === 1 ? rows[0] : undefined;
    this.press.replaceChildren(one ? "Your job" : `Your jobs: ${rows.length}`, one ? h("span", { className: "long" }, `: ${one.words}`) : "");
  }

  private get isRunning(): boolean {
    return this.unseen.all.some((id) => !this.ended.has(id));
  }

  private plan(afterMs = this.pause()): void {
    clearTimeout(this.timer);
    if (this.unseen.all.length + this.late.all.length === 0) return;
    const sinceMs = performance.now() - this.lookedAt;
    this.timer = window.setTimeout(() => void this.look(), Math.max(afterMs, HINT_GAP_MS - sinceMs));
  }

  private pause(): number {
    if (!this.isRunning) return LATE_AGAIN_MS;
    return document.hidden ? HIDDEN_AGAIN_MS : RUNNING_AGAIN_MS;
  }

  private async look(): Promise<void> {
    this.lookedAt = performance.now();
    for (const id of [...this.unseen.all, ...this.late.all]) if (id !== this.inView) await this.lookAt(id);
    this.plan();
  }

  private async lookAt(id: string): Promise<void> {
    try {
      const job = await ask<Job>(`api/jobs/${id}`);
      if (id !== this.inView) this.take(job);
    } catch (trouble) {
      if (trouble instanceof Problem && trouble.status === 404) this.gone(id);
    }
  }
}

const short = (text: string): string => (text.length > REQUEST_CHARS ? `${text.slice(0, REQUEST_CHARS - 1)}…` : text);
