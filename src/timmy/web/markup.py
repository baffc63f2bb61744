"""HTML that is put together from elements: a text that is put in is escaped by having been put in, and cannot be forgotten."""

from __future__ import annotations

from html import escape


class Markup:
    """HTML that is safe to send: made by `el`, or by a renderer that lets no HTML of others through."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __add__(self, other: Markup) -> Markup:
        return Markup(self.text + other.text)


VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})
NOTHING = Markup("")


def el(name: str, /, *inside: Markup | str | int | None, **attributes: str | int | bool | None) -> Markup:
    """`el("a", "text", href="/", class_="low")`. A text is escaped. None inside is nothing; an attribute of None or False is left out."""
    given = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None and value is not False)
    if name in VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{together(*inside)}</{name}>")


def together(*parts: Markup | str | int | None) -> Markup:
    """One after the other."""
    return Markup("".join(_inside(part) for part in parts))


def _inside(part: Markup | str | int | None) -> str:
    if part is None:
        return ""
    return part.text if isinstance(part, Markup) else escape(str(part))


def _attribute(key: str, value: str | int) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
