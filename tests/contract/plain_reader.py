"""A browser without scripts, as far as a test needs one: it reads a page, fills in its forms, and sends them as a browser would."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx

ACTS_ON_A_PAGE = {"script", "iframe", "object", "embed", "base", "style", "svg"}
VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[str] = field(default_factory=list)


class Reader(HTMLParser):
    """What is on a page: its elements with their attributes, its texts, its forms. That it is well nested is asserted."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.forms: list[Form] = []
        self.texts: list[str] = []
        self.by_tag: dict[str, list[str]] = {}
        self._open: list[str] = []
        self._area: str | None = None
        self.feed(html)
        self.close()
        assert self._open == [], self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements.append((tag, given))
        if tag == "form":
            self.forms.append(Form(given["action"], given["method"]))
        if tag == "input" and self.forms and "name" in given:
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        if tag == "textarea" and "form" in self._open and "name" in given:
            self._area = given["name"]
            self.forms[-1].fields[self._area] = ""
        if tag not in VOID:
            self._open.append(tag)
            self.by_tag.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "textarea":
            self._area = None

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        for tag in self._open:
            self.by_tag[tag][-1] += data
        if self._area is not None:
            self.forms[-1].fields[self._area] += data.removeprefix("\n")
        if self._open and self._open[-1] == "button" and self.forms:
            self.forms[-1].buttons.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def heading(self) -> str:
        (found,) = self.by_tag["h1"]
        return found

    @property
    def alert(self) -> str:
        return " ".join(self.text.split()) if any(given.get("role") == "alert" for _, given in self.elements) else ""

    @property
    def refreshes(self) -> bool:
        return any(given.get("http-equiv") == "refresh" for _, given in self.elements)

    def form(self, end: str) -> Form:
        """The first whose address ends so."""
        return next(form for form in self.forms if form.action.endswith(end))

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    def links(self) -> list[str]:
        return [given["href"] for tag, given in self.elements if tag == "a"]


@dataclass
class Browser:
    """Follows redirections, keeps cookies, and says of its forms that they come from the page's own site."""

    http: httpx.AsyncClient
    path: str = ""
    status: int = 0
    html: str = ""
    headers: httpx.Headers = field(default_factory=httpx.Headers)

    async def open(self, path: str) -> Reader:
        return self._read(await self.http.get(path, follow_redirects=True))

    async def again(self) -> Reader:
        return await self.open(self.path)

    async def send(self, form: Form, **typed: str) -> Reader:
        assert form.method == "post"
        answer = await self.http.post(
            form.action, data={**form.fields, **typed}, headers={"Sec-Fetch-Site": "same-origin"}, follow_redirects=True
        )
        return self._read(answer)

    def _read(self, answer: httpx.Response) -> Reader:
        self.path, self.status, self.html, self.headers = answer.url.raw_path.decode(), answer.status_code, answer.text, answer.headers
        assert answer.headers["content-type"] == "text/html; charset=utf-8", answer.text
        return Reader(answer.text)


def harmless(browser: Browser, page: Reader) -> None:
    """No script, no handler, no style of its own, nothing from elsewhere, and the headers that see to it."""
    assert page.tags() & ACTS_ON_A_PAGE == set()
    for tag, given in page.elements:
        assert not [name for name in given if name.startswith("on") or name == "style"], (tag, given)
        for name in ("href", "src", "action", "formaction"):
            assert re.match(r"/|#|\?|lightning:|data:image/png;base64,|https?://", given.get(name, "/")), (tag, given)
        assert given.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
    policy = browser.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert "form-action 'self'" in policy
    assert browser.headers["cache-control"] == "no-store"
    assert "noindex" in browser.headers["x-robots-tag"]
