/** What somebody in the scene says, over their head. The same stands in the journal, and is announced. */

import { need } from "../page/dom";

const CHARS_MAX = 220;
const SHOWN_MS_MIN = 6_000;
const SHOWN_MS_MAX = 15_000;
const SHOWN_MS_PER_CHAR = 60;
const MARGIN_PX = 16;
const TOP_PX = 64;

export interface Point {
  x: number;
  y: number;
}

/** The panel beside the scene is there to be read. */
function rightEdge(): number {
  const panel = need("#panel");
  return panel.hidden ? innerWidth : panel.getBoundingClientRect().left;
}

export class Bubble {
  private readonly element = need("#bubble");
  private readonly words = need("#bubble-text");
  private readonly who = need("#bubble-who");
  private timer = 0;

  constructor(private readonly over: (agentId: string) => Point) {
    window.addEventListener("resize", () => this.place());
  }

  say(agentId: string, name: string, text: string): void {
    clearTimeout(this.timer);
    this.words.textContent = text.length > CHARS_MAX ? `${text.slice(0, CHARS_MAX - 1)}…` : text;
    this.who.textContent = name;
    this.element.dataset.agent = agentId;
    this.element.hidden = false;
    this.place();
    const shown = Math.min(SHOWN_MS_MAX, SHOWN_MS_MIN + text.length * SHOWN_MS_PER_CHAR);
    this.timer = window.setTimeout(() => (this.element.hidden = true), shown);
  }

  place(): void {
    if (this.element.hidden) return;
    const { x, y } = this.over(this.element.dataset.agent ?? "timmy");
    const { width, height } = this.element.getBoundingClientRect();
    const left = Math.max(MARGIN_PX, Math.min(rightEdge() - width - MARGIN_PX, x - width / 2));
    const top = Math.min(innerHeight / 2, Math.max(TOP_PX, y - height - MARGIN_PX));
    this.element.style.setProperty("left", `${left}px`);
    this.element.style.setProperty("top", `${top}px`);
    this.element.style.setProperty("--tail", `${Math.min(width - 24, Math.max(24, x - left))}px`);
  }
}
