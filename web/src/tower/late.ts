/** Sessions that were put away while sats of theirs were owed, or may still arrive. Their ids are all that leads to these, so they are kept,
 *  and looked at when somebody comes here. */

import type { Session } from "../generated/api";
import { ask, Problem } from "../page/api";
import { currentSession, Ids, lateSessions } from "../page/memory";

const sessions = new Ids(lateSessions);

export const isPutAway = (sessionId: string): void => sessions.keep(sessionId);

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
