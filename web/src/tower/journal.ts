/** What has happened, line by line. Not a live region: what matters is announced, and the rest can be read. */

import { h, need } from "../page/dom";

const LINES_MAX = 100;
const AT_THE_END_PX = 40;
export const QUIET = "It is quiet here. Say hello.";

export type Kind = "said" | "mine" | "money" | "work" | "note";

export class Journal {
  private readonly list = need("#log");

  /** Nobody has said anything, and nothing that has words was done. */
  get isQuiet(): boolean {
    return this.list.querySelector("p:not(.note)") === null;
  }

  /** `isOld`: told again, so it stands where it belongs by its time; what is new stands last, whatever this machine's clock says. */
  line(kind: Kind, text: string, who = "", at = new Date().toISOString(), isOld = false): void {
    const { list } = this;
    const follows = list.scrollHeight - list.scrollTop - list.clientHeight < AT_THE_END_PX;
    const time = h("time", { dateTime: at }, clock(at));
    const line = h("p", { className: kind }, time, " ", who ? h("b", { className: `by-${who.replace(/\W/g, "-")}` }, `${who} `) : null, text);
    const later = isOld ? [...list.children].find((other) => (other.querySelector("time")?.dateTime ?? "") > at) : undefined;
    list.insertBefore(line, later ?? null);
    while (list.childElementCount > LINES_MAX) list.firstElementChild?.remove();
    if (follows) list.scrollTop = list.scrollHeight;
  }

  /** What happened is told anew by the server; what this page noted by itself stays. */
  clear(): void {
    for (const line of [...this.list.children]) if (!line.classList.contains("note") || line.textContent?.includes(QUIET)) line.remove();
  }
}

const clock = (iso: string): string => new Date(iso).toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false });
