/** A job from its order to its refund. The server decides where it stands; this shows it. */

import type { Job, JobCreated } from "../generated/api";
import { ask, fresh, Problem, said } from "../page/api";
import { announce, alarm, button, h, quiet, type Child } from "../page/dom";
import { follow, type Following } from "../page/follow";
import { currentJob, refundAddress } from "../page/memory";
import { sats } from "../page/money";
import { answer, Writing } from "./answer";
import { costs, priceDetails, priceHint } from "./costs";
import type { OwnWork } from "./own";
import type { Panel } from "./panel";
import { paySheet, type Sheet } from "./pay";
import { payoutForm, refundState } from "./refund";
import { steps, TITLES, WHERE } from "./steps";

const PAID_FROM: Partial<Record<string, string[]>> = {
  awaiting_eval_payment: ["evaluating", "rejected", "awaiting_work_payment", "executing", "complete"],
  awaiting_work_payment: ["executing", "complete"],
};

export interface Around {
  again(request: string): void;
  note(line: string): void;
  taken(): void; // the order was accepted: its words need not be kept any more
  own: OwnWork;
}

export class JobFlow {
  private readonly writing = new Writing();
  private following: Following | null = null;
  private sheet: Sheet | null = null;
  private state = "";
  private isOver = false;
  private drawn = 0;

  private constructor(
    private readonly panel: Panel,
    private readonly around: Around,
  ) {}

  /** Orders the job. What goes wrong is shown with a way to try again under the same key, so that nothing is ordered twice. */
  static order(panel: Panel, request: string, around: Around): void {
    const flow = new JobFlow(panel, around);
    flow.open();
    const key = fresh();
    const attempt = (): void => {
      panel.show({ title: "One moment", body: [steps("ordering"), h("progress", { "aria-label": "Ordering" })] });
      const refundTo = refundAddress.get();
      ask<JobCreated>("api/jobs", { body: { request, ...(refundTo ? { refundTo } : {}) }, headers: key })
        .then((made) => {
          currentJob.set(made.jobId);
          around.own.ordered(made.jobId); // from here on it goes on, watched or not
          around.taken();
          flow.watch(made.jobId);
        })
        .catch((trouble: unknown) => flow.failed(trouble, attempt));
    };
    attempt();
  }

  static resume(panel: Panel, jobId: string, around: Around): void {
    const flow = new JobFlow(panel, around);
    flow.open();
    panel.show({ title: "One moment", body: [h("progress", { "aria-label": "Looking for your job" })] });
    flow.watch(jobId);
  }

  private open(): void {
    this.panel.take(() => this.stop());
  }

  private stop(): void {
    this.isOver = true;
    this.following?.stop();
    this.sheet?.stop();
    this.around.own.left();
  }

  private failed(trouble: unknown, attempt: () => void): void {
    if (this.isOver) return;
    alarm("That did not go through");
    const retry = trouble instanceof Problem && trouble.status !== 0 && trouble.status < 500 && trouble.status !== 429 ? null : button("Try again", attempt);
    this.panel.show({ title: "That did not go through", body: [h("p", { className: "err" }, said(trouble)), retry], focus: true });
  }

  private watch(jobId: string): void {
    if (this.isOver) return;
    this.following = follow<Job>(`api/jobs/${jobId}`, "job", {
      whole: (job) => void this.draw(job),
      news: { progress: (told) => this.wrote(String(told.text ?? "")), restarted: () => this.writing.clear() },
      anew: () => this.writing.clear(),
      lost: () => this.lost(jobId),
    });
    void this.following.look();
  }

  private wrote(piece: string): void {
    this.writing.add(piece);
    this.writing.element.hidden = false;
    this.writing.element.parentElement?.querySelector(".busy")?.remove();
  }

  /** The id of a job that this server does not know (any more) must not be looked for for ever. */
  private lost(jobId: string): void {
    if (this.state !== "") return;
    void ask<Job>(`api/jobs/${jobId}`).catch((trouble: unknown) => {
      if (!(trouble instanceof Problem) || trouble.status !== 404 || this.isOver) return;
      if (currentJob.get() === jobId) currentJob.set(null);
      this.around.own.gone(jobId);
      this.panel.close();
    });
  }

  private async draw(job: Job): Promise<void> {
    const turn = ++this.drawn;
    const isNew = job.state !== this.state;
    const body = await this.body(job);
    if (turn !== this.drawn || this.isOver) return; // something newer was drawn meanwhile
    if (isNew) this.moved(job);
    this.panel.show({ title: TITLES[job.state] ?? job.state, body: [steps(job.state), ...body], focus: isNew });
    this.around.own.seen(job);
    if (WHERE[job.state] === "end") this.ended(job);
    else currentJob.set(job.jobId);
  }

  private moved(job: Job): void {
    const paid = PAID_FROM[this.state]?.includes(job.state) ?? false;
    this.state = job.state;
    announce(`${paid ? "Payment received. " : ""}${TITLES[job.state] ?? job.state}`);
    if (paid) this.around.note("Your payment has arrived.");
    this.sheet?.stop();
    this.sheet = null;
  }

  private ended(job: Job): void {
    if (currentJob.get() === job.jobId) currentJob.set(null);
    if (job.state !== "expired" && job.refund.owedSats === 0) this.following?.stop(); // nothing can change any more
  }

  private async body(job: Job): Promise<Child[]> {
    switch (job.state) {
      case "awaiting_eval_payment":
        return [this.pay(job, "To read your request and price it", job.evalInvoice)];
      case "awaiting_work_payment":
        return [absorbed(job), job.workInvoice ? this.pay(job, "For the work itself", job.workInvoice) : null, priceDetails(job)];
      case "evaluating":
        return [waiting(job, "Reading"), request(job)];
      case "executing":
        this.writing.element.hidden = this.writing.isEmpty;
        return [absorbed(job), this.writing.isEmpty ? waiting(job, "Working") : null, this.writing.element];
      default:
        return this.ending(job);
    }
  }

  private pay(job: Job, what: string, invoice: Job["evalInvoice"]): HTMLElement {
    this.sheet?.stop();
    const look = (): void => void this.following?.look();
    this.sheet = paySheet({ invoice, what, hint: priceHint(job, invoice.amountSats), look, lapsed: look });
    return this.sheet.element;
  }

  private async ending(job: Job): Promise<Child[]> {
    const done = job.result === null ? null : await answer(job.result, "timmy");
    const ask = button(job.state === "expired" ? "New invoice" : "Ask again", () => this.around.again(job.request), job.state === "complete" ? quiet : {});
    return [
      job.state === "expired" ? expired() : job.reason ? h("p", { className: "reason" }, job.reason) : null,
      done,
      job.truncated ? h("p", { className: "warn" }, "The answer ends here because the payment was used up.") : null,
      costs(job),
      refundState(job.refund),
      this.refund(job),
      h("div", { className: "row" }, ask, receipt(job)),
    ];
  }

  private refund(job: Job): HTMLElement | null {
    const { owedSats, destination } = job.refund;
    if (owedSats === 0 || destination !== null) return null;
    return payoutForm({
      amountSats: owedSats,
      button: `Send me the ${sats(owedSats)}`,
      isJobs: true,
      send: async (place) => {
        await ask<Job>(`api/jobs/${job.jobId}/refund`, { body: place, headers: fresh() });
        await this.following?.look();
      },
    });
  }
}

const request = (job: Job): HTMLElement => h("blockquote", { className: "request" }, job.request);

function waiting(job: Job, doing: string): HTMLElement {
  const text = job.waiting ?? `${doing}…`;
  return h("div", { className: "busy" }, h("progress", { "aria-label": doing }), h("p", { className: "small" }, text));
}

function absorbed(job: Job): HTMLElement | null {
  if (job.absorbed_sats === 0) return null;
  return h("p", { className: "gift" }, `Timmy pays ${sats(job.absorbed_sats)} of this for you, from the pool.`);
}

function expired(): HTMLElement {
  return h(
    "div",
    {},
    h("p", {}, "Nobody paid in time, so nothing was done."),
    h("p", { className: "small" }, "If you did pay, wait here: this page goes on looking, and a payment that comes late is yours to take back. Do not pay the old invoice any more."),
  );
}

function receipt(job: Job): HTMLElement | null {
  if (job.state === "expired") return null;
  return h("a", { className: "btn ghost", href: new URL(`api/jobs/${job.jobId}/receipt`, document.baseURI).href, target: "_blank", rel: "noopener" }, "Signed receipt");
}
