/** Markdown from a language model, as a fragment without scripts, pictures, styles or forms. Loaded only when there is an answer. */

import DOMPurify from "dompurify";
import { Marked } from "marked";

const TAGS = [
  "p", "br", "em", "strong", "del", "code", "pre", "ul", "ol", "li", "blockquote", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "a",
  "table", "thead", "tbody", "tr", "th", "td",
];
const HARMLESS_LINK = /^(?:https?|mailto|lightning):/i;

const inert = (text: string): string => text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);

const marked = new Marked({
  async: false,
  gfm: true,
  breaks: true, // a model ends a line where it means to: a verse is not prose
  renderer: {
    // Raw HTML is shown as what it is. The sanitizer would drop it as well, but its parser would first try to load what it names.
    html: (token) => inert(token.text),
    image: (token) => inert(token.text || token.href),
  },
});

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  // An answer's own headings must not stand above those of the page.
  if (node.tagName !== "A") return;
  node.setAttribute("rel", "noopener noreferrer nofollow");
  node.setAttribute("target", "_blank");
});

export function rendered(text: string): DocumentFragment {
  const html = marked.parse(text) as string;
  const fragment = DOMPurify.sanitize(html, {
    RETURN_DOM_FRAGMENT: true,
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ["href", "start"],
    ALLOWED_URI_REGEXP: HARMLESS_LINK,
  });
  for (const heading of fragment.querySelectorAll("h1,h2,h3,h4,h5,h6")) lower(heading);
  for (const wide of fragment.querySelectorAll("pre,table")) wide.setAttribute("tabindex", "0"); // they scroll, so a keyboard must get there
  return fragment;
}

/** The page has its own headings; an answer's begin at the third level. */
function lower(heading: Element): void {
  const level = Math.min(6, Number(heading.tagName[1]) + 2);
  const lowered = document.createElement(`h${level}`);
  lowered.append(...heading.childNodes);
  heading.replaceWith(lowered);
}
