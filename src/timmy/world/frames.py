"""A message as it lies on the wire: JSON in a WebSocket frame of a server, which is the same bytes for every viewer."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

import orjson

FINAL_TEXT = 0x81  # RFC 6455 section 5.2: FIN, opcode 1; a server's frames are not masked (section 5.1)
SHORT, MEDIUM = 126, 65_536


def frame(message: Mapping[str, object]) -> bytes:
    """Encoded once, written to however many."""
    payload = orjson.dumps(message)
    size = len(payload)
    if size < SHORT:
        return struct.pack("!BB", FINAL_TEXT, size) + payload
    if size < MEDIUM:
        return struct.pack("!BBH", FINAL_TEXT, 126, size) + payload
    return struct.pack("!BBQ", FINAL_TEXT, 127, size) + payload


def frames(messages: Iterable[Mapping[str, object]]) -> bytes:
    """Several, to be written at once."""
    return b"".join(map(frame, messages))
