/** Jobs that nobody paid in time. A payment that arrives all the same is owed back, so they are looked at when somebody comes here. */

import type { Job } from "../generated/api";
import { ask, Problem } from "../page/api";
import { lateJobs } from "../page/memory";

const KEPT_MAX = 20;
const LOOK_EVERY_MS = 60_000;

const kept = (): string[] => (lateJobs.get() ?? "").split(" ").filter(Boolean);

function keep(ids: string[]): void {
  lateJobs.set(ids.length ? ids.slice(-KEPT_MAX).join(" ") : null);
}

export function isLate(jobId: string): void {
  if (!kept().includes(jobId)) keep([...kept(), jobId]);
}

/** Calls `found` for a job of the past that has sats to give back; again each minute, as long as there are such jobs. */
export async function lookForLate(found: (job: Job) => void): Promise<void> {
  for (const jobId of kept()) {
    try {
      const job = await ask<Job>(`api/jobs/${jobId}`);
      if (job.refund.owedSats > 0 && job.refund.destination === null) found(job);
      if (job.refund.paidSats > 0) keep(kept().filter((other) => other !== jobId));
    } catch (trouble) {
      if (trouble instanceof Problem && trouble.status === 404) keep(kept().filter((other) => other !== jobId));
    }
  }
  if (kept().length) window.setTimeout(() => void lookForLate(found), LOOK_EVERY_MS);
}
