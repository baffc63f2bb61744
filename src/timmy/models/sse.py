"""Server-sent events from untrusted bytes (WHATWG HTML, section 9.2.6 "Interpreting an event stream").

Chunks may be cut anywhere: inside a UTF-8 character, between CR and LF. Only whole lines are decoded. Memory is bounded: a line or an
event above `EVENT_BYTES_MAX` ends the stream, because no honest piece of an answer is that long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

EVENT_BYTES_MAX = 1_048_576

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class EventTooLong(Exception):
    """A line or an event is longer than any honest one."""


@dataclass(frozen=True, slots=True)
class Event:
    """`name` is "message" where the server gave none, as the standard says."""

    name: str
    data: str


class EventParser:
    """Fed with bytes as they arrive, it answers with the events that are complete."""

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._max = event_bytes_max
        self._rest = b""  # an unfinished line
        self._name = ""
        self._data: list[str] = []
        self._data_bytes = 0
        self._at_start = True

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes. EventTooLong: stop reading, the server is not well."""
        buffer = self._rest + chunk
        if self._at_start:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                self._rest = buffer
                return []
            buffer = buffer.removeprefix(_BOM)
            self._at_start = False
        events: list[Event] = []
        begin = 0
        for end in _LINE_END.finditer(buffer):
            if end.group() == b"\r" and end.end() == len(buffer):
                break  # its LF may be in the next chunk
            self._line(buffer[begin : end.start()], events)
            begin = end.end()
        self._rest = buffer[begin:]
        if len(self._rest) > self._max:
            raise EventTooLong
        return events

    def end(self) -> list[Event]:
        """What was left when the stream ended. The standard throws it away; servers that forget the last empty line do exist."""
        events: list[Event] = []
        self._line(self._rest.removesuffix(b"\r"), events)
        self._line(b"", events)
        self._rest = b""
        return events

    def _line(self, line: bytes, events: list[Event]) -> None:
        if not line:
            if self._data:
                events.append(Event(self._name or "message", "\n".join(self._data)))
            self._name, self._data, self._data_bytes = "", [], 0
            return
        field, _, value = line.partition(b":")  # a comment is a line whose field is empty
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data_bytes += len(value) + 1
            if self._data_bytes > self._max:
                raise EventTooLong
            self._data.append(value.decode("utf-8", "replace"))
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
