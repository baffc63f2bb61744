"""Text as models really send it, made fit to be stored and sent: no NUL (PostgreSQL refuses it), no lone surrogates (UTF-8 refuses
them). A server that cuts its answer by UTF-16 units sends the two halves of one emoji in two pieces: they are put together again."""

from __future__ import annotations

import re

REPLACEMENT = "\ufffd"

_PAIR = re.compile(r"([\ud800-\udbff])([\udc00-\udfff])")
_UNFIT = re.compile(r"[\ud800-\udfff\x00]")


def clean(text: str) -> str:
    """`text` with surrogate pairs joined, and whatever cannot be stored replaced by U+FFFD."""
    if _UNFIT.search(text) is None:
        return text
    return _UNFIT.sub(REPLACEMENT, _PAIR.sub(_joined, text))


def _joined(pair: re.Match[str]) -> str:
    high, low = ord(pair[1]) - 0xD800, ord(pair[2]) - 0xDC00
    return chr(0x10000 + (high << 10) + low)


class Pieces:
    """An answer as it grows: each piece is cleaned, and half a character waits for its other half."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._half = ""
        self.chars = 0

    def add(self, text: str) -> str:
        """The part of the answer that can be shown now; may be empty."""
        if self._half:
            text, self._half = self._half + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._half, text = text[-1], text[:-1]
        return self._keep(clean(text))

    def end(self) -> str:
        """Half a character whose other half never came, or nothing."""
        if not self._half:
            return ""
        half, self._half = self._half, ""
        return self._keep(clean(half))

    def whole(self) -> str:
        if len(self._texts) > 1:
            self._texts = ["".join(self._texts)]
        return self._texts[0] if self._texts else ""

    def _keep(self, text: str) -> str:
        self._texts.append(text)
        self.chars += len(text)
        return text
