"""Three families of trouble, one wire shape.

    TimmyError
    ├── Refusal   the caller can act on it                 4xx
    ├── Outage    someone we depend on is down             502, 503, 504, with Retry-After
    └── Breach    the books disagree: stop, and raise the alarm   500

A room raises its own subclass, with `code` (stable, machine-readable), `status` and `title` as class
attributes and a sentence for a person as the message: what is wrong, and what to do next. The web room renders them
as `application/problem+json` (RFC 9457); no other room knows HTTP.
"""

from __future__ import annotations

from typing import ClassVar


def plain(text: str) -> str:
    """A stranger's text without the control characters that make a terminal do things; line ends and tabs stay."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text)


class TimmyError(Exception):
    """Whatever Timmy says no to, on purpose. `extra` becomes members of the problem document."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something broke on our side"

    def __init__(self, message: str = "", **extra: object) -> None:
        super().__init__(message or self.title)
        self.message = message or self.title
        self.extra = extra


class Refusal(TimmyError):
    """The caller asked for something that cannot be; the message says what would work."""

    status = 400
    code = "refused"
    title = "That request cannot be carried out"


class Outage(TimmyError):
    """Someone we depend on did not answer; the same request may work later."""

    status = 503
    code = "unavailable"
    title = "A service that Timmy depends on is not answering"
    retry_after_seconds: int = 5


class Breach(TimmyError):
    """An invariant does not hold. Nothing continues past it: the task stops and the operator is told."""

    status = 500
    code = "breach"
    title = "The books disagree"


class NotFound(Refusal):
    status = 404
    code = "not_found"
    title = "There is no such thing here"
