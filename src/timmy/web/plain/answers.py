"""What a model wrote, as a page may show it: Markdown of which nothing can act, load or mislead."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from timmy.web.markup import Markup, el

MARKDOWN_CHARS_MAX = 60_000  # longer ones are shown as they are: reading Markdown takes more than linear time at its worst
HEADINGS_LOWER = 2  # the page has its own h1 and h2
Env = MutableMapping[str, Any]


class Renderer(RendererHTML):
    def heading_open(self, tokens: Sequence[Token], place: int, options: Any, env: Env) -> str:
        tokens[place].tag = _lower(tokens[place].tag)
        return self.renderToken(tokens, place, options, env)

    heading_close = heading_open

    def link_open(self, tokens: Sequence[Token], place: int, options: Any, env: Env) -> str:
        """It leads away, says nothing of where it was read, and does not vouch for where it leads."""
        tokens[place].attrSet("rel", "nofollow noopener noreferrer")
        tokens[place].attrs.pop("title", None)
        return self.renderToken(tokens, place, options, env)

    def image(self, tokens: Sequence[Token], place: int, options: Any, env: Env) -> str:
        """Not loaded: its address could carry away what stands in the answer (H03)."""
        told = self.renderInlineAsText(tokens[place].children or [], options, env)
        return el("em", f"[picture: {told}]" if told else "[picture]").text

    def softbreak(self, _tokens: Sequence[Token], _place: int, _options: Any, _env: Env) -> str:
        """A model ends a line where it means to: a verse is not prose."""
        return "<br>\n"


def _lower(tag: str) -> str:
    return f"h{min(6, int(tag[1]) + HEADINGS_LOWER)}"


def _leads_somewhere_harmless(url: str) -> bool:
    try:
        return urlsplit(url.strip()).scheme.lower() in ("http", "https")
    except ValueError:
        return False


def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False}, renderer_cls=Renderer).enable(["table", "strikethrough"])
    reader.validateLink = _leads_somewhere_harmless  # type: ignore[method-assign]
    return reader


READER = _reader()


def answer(text: str) -> Markup:
    if len(text) > MARKDOWN_CHARS_MAX:
        return el("div", text, class_="answer said")
    return el("div", Markup(READER.render(text)), class_="answer")
