/** The line to the world: opened, kept alive, and opened again when it is lost. */

import { socketAddress } from "../page/address";
import type { ClientMessage, ServerMessage } from "./messages";

const FIRST_PAUSE_MS = 500;
const LAST_PAUSE_MS = 30_000;
const PING_EVERY_MS = 25_000; // a line that is cut without a word is noticed by asking
const TRY_LATER = 1013;

export interface Line {
  say(saying: ClientMessage): boolean;
}

export interface Listener {
  told(message: ServerMessage): void;
  opened(): void;
  lost(): void;
}

export function openLine(listener: Listener): Line {
  let socket: WebSocket | null = null;
  let attempts = 0;
  let again = 0;
  let alive = 0;
  let heard = 0;

  function open(): void {
    clearTimeout(again);
    socket?.close();
    const mine = new WebSocket(socketAddress());
    socket = mine;
    mine.onopen = () => {
      attempts = 0;
      heard = Date.now();
      alive = window.setInterval(() => keepAlive(mine), PING_EVERY_MS);
      listener.opened();
    };
    mine.onmessage = (event: MessageEvent<string>) => {
      heard = Date.now();
      listener.told(JSON.parse(event.data) as ServerMessage);
    };
    mine.onclose = (event) => {
      if (socket !== mine) return;
      clearInterval(alive);
      listener.lost();
      if (event.code === TRY_LATER) attempts = Math.max(attempts, 4);
      const pause = Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempts++);
      again = window.setTimeout(open, pause * (0.5 + Math.random() / 2)); // not everybody at the same moment
    };
  }

  function keepAlive(mine: WebSocket): void {
    if (Date.now() - heard > 3 * PING_EVERY_MS) mine.close();
    else mine.send(JSON.stringify({ type: "ping" } satisfies ClientMessage));
  }

  window.addEventListener("online", () => {
    if (socket?.readyState !== WebSocket.OPEN) open();
  });
  open();
  return {
    say(saying) {
      if (socket?.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify(saying));
      return true;
    },
  };
}
