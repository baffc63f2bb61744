/** Elements without a framework: what a page needs of one, and no HTML is ever parsed. */

export type Child = Node | string | null | undefined | false;
type Props = Record<string, unknown>;

export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on") && typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
    else if (name in element && !name.startsWith("aria") && name !== "list") (element as unknown as Props)[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

export function add(to: Element, children: Child[]): void {
  for (const child of children) if (child) to.append(child);
}

/** The element of the page's own HTML; one that is missing is a mistake in the page. */
export function need<T extends HTMLElement = HTMLElement>(selector: string): T {
  const found = document.querySelector<T>(selector);
  if (found === null) throw new Error(`the page has no ${selector}`);
  return found;
}

export function button(text: string, onclick: () => void, props: Props = {}): HTMLButtonElement {
  return h("button", { type: "button", className: "btn", onclick, ...props }, text);
}

export const quiet = { className: "btn ghost" };

/** Told to screen readers at boundaries: something was sent, is ready, was paid. */
export function announce(text: string): void {
  polite.say(text);
}

export function alarm(text: string): void {
  urgent.say(text);
}

const FIRST_MS = 60; // a region that is emptied and filled at once is not read
const NEXT_MS = 1_000; // what is replaced sooner is not read to its end

/** One sentence after the other. */
class Speaker {
  private readonly waiting: string[] = [];
  private isSpeaking = false;

  constructor(private readonly region: string) {}

  say(text: string): void {
    this.waiting.push(text);
    if (!this.isSpeaking) this.next(FIRST_MS);
  }

  private next(afterMs: number): void {
    const region = need(this.region);
    this.isSpeaking = this.waiting.length > 0;
    if (!this.isSpeaking) return;
    if (afterMs === FIRST_MS) region.textContent = "";
    setTimeout(() => {
      region.textContent = this.waiting.shift() ?? "";
      setTimeout(() => this.next(0), NEXT_MS);
    }, afterMs);
  }
}

const polite = new Speaker("#live");
const urgent = new Speaker("#alert");

export const isReduced = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches;
