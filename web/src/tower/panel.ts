/** The one panel beside the scene: work, balance, identity, pool. What it shows belongs to one owner at a time. */

import { h, need, type Child } from "../page/dom";

export interface Shown {
  title: string;
  body: Child[];
  focus?: boolean; // move the focus to the heading: whenever something new has begun
}

const TITLE = "panel-title";

export class Panel {
  private readonly element = need("#panel");
  private readonly title = h("h2", { id: TITLE, tabIndex: -1 });
  private readonly body = h("div", { className: "body" });
  private onClosed: (() => void) | null = null;
  private before: HTMLElement | null = null;
  private readonly listeners: ((open: boolean) => void)[] = [];
  turn = 0; // how often it has changed hands: what took long to learn is not put over what was opened meanwhile

  constructor() {
    const close = h("button", { type: "button", className: "close", "aria-label": "Close", onclick: () => this.close() }, "×");
    this.element.append(h("div", { className: "head" }, this.title, close), this.body);
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.isOpen) this.close();
    });
  }

  get isOpen(): boolean {
    return !this.element.hidden;
  }

  get width(): number {
    return this.isOpen ? this.element.getBoundingClientRect().width : 0;
  }

  onChange(listener: (open: boolean) => void): void {
    this.listeners.push(listener);
  }

  /** Taken over by a new owner; whoever had it is told, and stops. */
  take(onClosed: () => void): void {
    const last = this.onClosed;
    this.onClosed = null;
    this.turn++;
    last?.();
    this.onClosed = onClosed;
    if (!this.isOpen) this.before = document.activeElement as HTMLElement | null;
  }

  show({ title, body, focus }: Shown): void {
    const opened = !this.isOpen;
    this.element.hidden = false;
    document.body.classList.add("paneled");
    this.title.textContent = title;
    this.body.replaceChildren(...body.filter((child): child is Node | string => !!child));
    if (focus || opened) {
      this.element.scrollTop = 0;
      this.title.focus({ preventScroll: true });
    }
    if (opened) this.tell();
  }

  close(): void {
    const last = this.onClosed;
    this.onClosed = null;
    this.turn++;
    this.element.hidden = true;
    this.body.replaceChildren();
    document.body.classList.remove("paneled");
    last?.();
    const { before } = this;
    (before?.closest("#bar") && !before.hidden ? before : need("#message")).focus();
    this.tell();
  }

  private tell(): void {
    for (const listener of this.listeners) listener(this.isOpen);
  }
}
