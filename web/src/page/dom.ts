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
  speak("#live", text);
}

export function alarm(text: string): void {
  speak("#alert", text);
}

const ANNOUNCE_AFTER_MS = 60; // a region that is emptied and filled at once is not read

function speak(selector: string, text: string): void {
  const region = need(selector);
  region.textContent = "";
  setTimeout(() => (region.textContent = text), ANNOUNCE_AFTER_MS);
}

export const isReduced = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches;
