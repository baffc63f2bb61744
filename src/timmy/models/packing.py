"""A body that a server has packed (Content-Encoding; RFC 9110, section 8.4), although it was asked not to: gateways and proxies do that.

It is unpacked in bounded pieces, so that a small bomb fills nobody's memory, and it has to come to its own end: gzip and zlib say where
that is. A coding that is not known here is left as it is; what comes out is no JSON then, and is told as such.
"""

from __future__ import annotations

import zlib

PIECE_BYTES_MAX = 65_536

_GZIP = {b"gzip": 16 + zlib.MAX_WBITS, b"x-gzip": 16 + zlib.MAX_WBITS}


class BadPacking(Exception):
    """It is not what it says it is."""


class Unpacking:
    """Fed with bytes as they arrive. `more` is True while there is more in what it was fed with already: feed it with nothing then."""

    def __init__(self, wbits: int | None) -> None:
        self._wbits = wbits  # None: deflate, in one of its two ways, which the first byte tells
        self._inflating: zlib._Decompress | None = None
        self._rest = b""
        self.more = False

    @property
    def is_whole(self) -> bool:
        """All that it was fed with is out, and ended where it should. An empty body is packed as nothing at all by some."""
        return not self.more and (self._inflating is None or self._inflating.eof)

    def feed(self, data: bytes) -> bytes:
        """At most PIECE_BYTES_MAX of what is in it, perhaps nothing yet. BadPacking."""
        data = self._rest + data
        if self._inflating is None or (self._inflating.eof and data):
            if not data:
                return b""
            self._inflating = zlib.decompressobj(self._next_wbits(data))
        try:
            piece = self._inflating.decompress(data, PIECE_BYTES_MAX)
        except zlib.error:
            raise BadPacking from None
        # What follows an end is another one: gzip files may be put one after the other (RFC 1952, section 2.2).
        self._rest = self._inflating.unused_data if self._inflating.eof else self._inflating.unconsumed_tail
        self.more = bool(self._rest) or (len(piece) == PIECE_BYTES_MAX and not self._inflating.eof)
        return piece

    def _next_wbits(self, data: bytes) -> int:
        if self._wbits is not None:
            return self._wbits
        # zlib's first byte says 8 in its lower half (RFC 1950, section 2.2); without it, it is bare deflate, as old servers send it.
        return zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS


def unpacking(coding: bytes) -> Unpacking | None:
    """For the value of a Content-Encoding field; None where nothing is to be unpacked."""
    coding = coding.strip().lower()
    return Unpacking(_GZIP.get(coding)) if coding in _GZIP or coding == b"deflate" else None
