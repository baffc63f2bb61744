"""Text that strangers and models write, made fit to be shown to everybody: one line, nothing invisible, no towers of accents."""

from __future__ import annotations

import re
import unicodedata

MARKS_MAX = 2  # accents on one letter: what living scripts need, and no more
FRAME_CHARS = frozenset("\u200c\u200d")  # joiners: Persian and emoji need them; they stand between characters only

_MARKDOWN_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKDOWN_SIGNS = re.compile(r"(\*{1,3}|_{2,3}|`{1,3}|^#{1,6} )")


def one_line(text: str) -> str:
    """What of a text may be shown: control, format and private characters go (they could turn a line around, or hide in it), white space
    becomes one space."""
    kept: list[str] = []
    marks = 0
    for char in unicodedata.normalize("NFC", text):
        category = unicodedata.category(char)
        if category.startswith("M"):
            marks += 1
            if marks > MARKS_MAX or not kept or kept[-1] == " ":
                continue
        else:
            marks = 0
        if category in ("Cc", "Zs", "Zl", "Zp"):
            char = " "
        elif category.startswith("C") and (char not in FRAME_CHARS or not kept or kept[-1] in FRAME_CHARS):
            continue
        kept.append(char)
    return " ".join("".join(kept).split())


def spoken(text: str, chars_max: int) -> str:
    """A model's words as Timmy says them: plain, without Markdown, cut on a word."""
    bare = _MARKDOWN_SIGNS.sub("", _MARKDOWN_LINK.sub(r"\1", text))
    return cut(one_line(bare).strip('"“”« »'), chars_max)


def cut(text: str, chars_max: int) -> str:
    """At most so many characters; where something is missing, an ellipsis says so."""
    if len(text) <= chars_max:
        return text
    head = text[: chars_max - 1]
    if not text[chars_max - 1].isspace() and " " in head:
        head = head[: head.rindex(" ")]
    return head.rstrip(" ,;:-–—") + "…"
