/** Something on the server as it changes: by server-sent events, and by looking where those do not get through. */

import { at } from "./address";
import { ask, type Asking } from "./api";

export interface Watcher<T> {
  whole(now: T): void;
  /** Other events of the stream, by name. */
  news?: Record<string, (told: Record<string, unknown>) => void>;
  /** The stream began anew: what its news have added up to so far will be told again. */
  anew?(): void;
  lost?(): void;
}

export interface Following {
  look(): Promise<void>;
  stop(): void;
}

const LOOK_EVERY_MS = 1_500;
const LOOK_EVERY_MS_BESIDE_A_STREAM = 10_000; // a proxy may hold a stream back without ending it
const LOOK_EVERY_MS_HIDDEN = 5_000;
const LOOK_EVERY_MS_AFTERWARDS = 2_500; // a refund moves after the stream has ended

export function follow<T>(path: string, kind: string, watcher: Watcher<T>, asking: Asking = {}): Following {
  let shown = "";
  let isOver = false;
  let hasEnded = false;
  let timer = 0;
  const stream = new EventSource(at(`${path}/events`));

  function show(now: T): void {
    // A session's macaroon is in its answer and not in its stream: that is no change.
    const text = JSON.stringify({ ...now, macaroon: undefined });
    if (isOver || text === shown) return;
    shown = text;
    watcher.whole(now);
  }

  async function look(): Promise<void> {
    try {
      show(await ask<T>(path, asking));
    } catch {
      if (!isOver) watcher.lost?.();
    }
  }

  function pause(): number {
    if (stream.readyState === EventSource.OPEN) return LOOK_EVERY_MS_BESIDE_A_STREAM;
    if (document.hidden) return LOOK_EVERY_MS_HIDDEN;
    return hasEnded ? LOOK_EVERY_MS_AFTERWARDS : LOOK_EVERY_MS;
  }

  function again(): void {
    clearTimeout(timer);
    if (isOver) return;
    timer = window.setTimeout(() => void look().finally(again), pause());
  }

  function onVisible(): void {
    if (!document.hidden) void look();
  }

  function stop(): void {
    isOver = true;
    clearTimeout(timer);
    stream.close();
    document.removeEventListener("visibilitychange", onVisible);
  }

  let opened = 0;
  stream.addEventListener("open", () => {
    if (opened++ === 0) watcher.anew?.();
  });
  stream.addEventListener(kind, (event) => show(JSON.parse((event as MessageEvent<string>).data) as T));
  for (const [name, tell] of Object.entries(watcher.news ?? {})) {
    stream.addEventListener(name, (event) => {
      if (!isOver) tell(JSON.parse((event as MessageEvent<string>).data) as Record<string, unknown>);
    });
  }
  stream.addEventListener("end", () => {
    hasEnded = true;
    stream.close();
    again();
  });
  document.addEventListener("visibilitychange", onVisible);
  again();
  return { look, stop };
}
