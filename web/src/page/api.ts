/** Asks the server, and turns its problems (RFC 9457) into errors that can be shown as they are. */

import { at } from "./address";

const PATIENCE_MS = 20_000;

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly members: Record<string, unknown>,
  ) {
    super(message);
  }
}

export interface Asking {
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  patienceMs?: number;
}

let token: string | null = null;

/** From here on every question carries this identity; null: none. */
export function identify(nostrToken: string | null): void {
  token = nostrToken;
}

export async function ask<T>(path: string, asking: Asking = {}): Promise<T> {
  const answer = await send(path, asking);
  const told: unknown = await answer.json().catch(() => ({}));
  if (answer.ok) return told as T;
  const members = (typeof told === "object" && told !== null ? told : {}) as Record<string, unknown>;
  const message = typeof members.error === "string" ? members.error : `The server answered ${answer.status}. Try again in a moment.`;
  throw new Problem(answer.status, typeof members.code === "string" ? members.code : "unknown", message, members);
}

async function send(path: string, asking: Asking): Promise<Response> {
  const headers = new Headers(asking.headers);
  const init: RequestInit = { headers, method: "GET", cache: "no-store" };
  if (asking.body !== undefined) {
    headers.set("Content-Type", "application/json");
    init.method = "POST";
    init.body = JSON.stringify(asking.body);
  }
  if (token !== null) headers.set("X-Nostr-Token", token);
  const patience = AbortSignal.timeout(asking.patienceMs ?? PATIENCE_MS);
  init.signal = asking.signal ? AbortSignal.any([asking.signal, patience]) : patience;
  try {
    return await fetch(at(path), init);
  } catch (trouble) {
    if (asking.signal?.aborted) throw trouble;
    throw new Problem(0, "unreachable", "The server cannot be reached. Nothing is lost; try again in a moment.", {});
  }
}

/** For a POST that may be sent again: the same key is done once. */
export function fresh(): Record<string, string> {
  return { "Idempotency-Key": key() };
}

function key(): string {
  // randomUUID exists in secure contexts only, and a house may be visited over plain HTTP.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const said = (trouble: unknown): string => (trouble instanceof Error && trouble.message ? trouble.message : String(trouble));
