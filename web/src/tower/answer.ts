/** An answer, as rendered Markdown that can do no harm, with what one does with an answer. */

import { announce, button, h, quiet } from "../page/dom";

/** The renderer is loaded when there is something to render. */
export async function answer(text: string, name: string): Promise<HTMLElement> {
  const { rendered } = await import("./markdown");
  const box = h("div", { className: "answer", tabIndex: 0, role: "region", "aria-label": "Timmy's answer" });
  box.append(rendered(text));
  const copy = button("Copy", () => void copied(text, copy), quiet);
  const save = button("Save", () => download(text, `${name}.md`, "text/markdown"), quiet);
  return h("div", { className: "result" }, box, h("div", { className: "row tight" }, copy, save));
}

async function copied(text: string, press: HTMLButtonElement): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    press.textContent = "Copied";
    announce("Copied");
  } catch {
    press.textContent = "Select and copy it by hand";
  }
}

export function download(text: string, name: string, type: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = h("a", { href: url, download: name });
  link.click();
  URL.revokeObjectURL(url);
}

/** What is being written, as it comes: plain text, because half a Markdown table is no table. */
export class Writing {
  readonly element = h("div", { className: "answer writing", "aria-label": "What Timmy has written so far", role: "region", tabIndex: 0 });
  private readonly text = document.createTextNode("");

  constructor() {
    this.element.append(this.text, h("span", { className: "quill", "aria-hidden": "true" }, "✎"));
  }

  get isEmpty(): boolean {
    return this.text.length === 0;
  }

  add(piece: string): void {
    const { element } = this;
    const follows = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
    this.text.appendData(piece);
    if (follows) element.scrollTop = element.scrollHeight;
  }

  clear(): void {
    this.text.data = "";
  }
}
