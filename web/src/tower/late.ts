/** Jobs and sessions that were left while sats were owed back, or may still arrive. Their ids are all that leads to these, so they are kept,
 *  and looked at when somebody comes here. */

import type { Job, Session } from "../generated/api";
import { ask, Problem } from "../page/api";
import { currentSession, lateJobs, lateSessions, type Remembered } from "../page/memory";

const KEPT_MAX = 20;
const LOOK_EVERY_MS = 60_000;
const ENDED = ["complete", "rejected", "failed"]; // not: expired, which may still be paid

class Ids {
  constructor(private readonly where: Remembered) {}

  get all(): string[] {
    return (this.where.get() ?? "").split(" ").filter(Boolean);
  }

  keep(id: string): void {
    this.write([...this.all.filter((other) => other !== id), id].slice(-KEPT_MAX));
  }

  drop(id: string): void {
    this.write(this.all.filter((other) => other !== id));
  }

  private write(ids: string[]): void {
    this.where.set(ids.length ? ids.join(" ") : null);
  }
}

const jobs = new Ids(lateJobs);
const sessions = new Ids(lateSessions);

export const isLate = (jobId: string): void => jobs.keep(jobId);

export const isPutAway = (sessionId: string): void => sessions.keep(sessionId);

/** Calls `found` for a job of the past that has sats to give back; again each minute, as long as there are such jobs. */
export async function lookForLate(found: (job: Job) => void): Promise<void> {
  for (const jobId of jobs.all) {
    const job = await looked<Job>(`api/jobs/${jobId}`, () => jobs.drop(jobId));
    if (job === null) continue;
    const { owedSats, paidSats, destination } = job.refund;
    if (owedSats > 0 && destination === null) found(job);
    if (owedSats === 0 && (paidSats > 0 || ENDED.includes(job.state))) jobs.drop(jobId);
  }
  if (jobs.all.length) window.setTimeout(() => void lookForLate(found), LOOK_EVERY_MS);
}

/** Where no session is open: one that was put away and has something in it is this browser's again. True: there was one. */
export async function takeUpSession(): Promise<boolean> {
  for (const id of sessions.all) {
    const session = await looked<Session>(`api/sessions/${id}`, () => sessions.drop(id));
    if (session?.closedAt && !hasSomething(session)) sessions.drop(id);
    if (session === null || !hasSomething(session)) continue;
    currentSession.set(id);
    sessions.drop(id);
    return true;
  }
  return false;
}

const hasSomething = (session: Session): boolean => session.balanceSats > 0 || session.refund.owedSats > 0;

async function looked<T>(path: string, gone: () => void): Promise<T | null> {
  try {
    return await ask<T>(path);
  } catch (trouble) {
    if (trouble instanceof Problem && trouble.status === 404) gone();
    return null;
  }
}
