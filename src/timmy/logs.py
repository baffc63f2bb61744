"""Structured logs: one line per event, with the request's id, and without any secret.

    configure(level="info", style="json", secrets=settings.secrets())
    log = structlog.get_logger("timmy.jobs")
    with structlog.contextvars.bound_contextvars(request_id="req_…"):
        log.info("job_moved", job="job_…", state="complete")

Everything that is written passes one filter, whoever wrote it (this house, uvicorn, a library) and wherever in the line it stands,
tracebacks included. Three nets, one behind the other: what a field is called, what a text looks like, and the very secrets of this
house's settings. No net is a licence: a secret is not given to a log in the first place.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "•••"
SHOWN_CHARS_MAX = 4_000  # of one text; a traceback keeps its end, where the error is
DEPTH_MAX = 6
NAME_CHARS_MAX = 20
SECRET_CHARS_MIN = 6  # shorter ones are hidden by name only: "abc" would blot out half of every line

# By name. `tokens` are counted, a `token` is a secret; a request's text and body are the customer's own business.
SECRET_NAME = re.compile(
    r"(macaroon|preimage|secret|passw|passphrase|mnemonic|nsec|authorization|cookie|credential|(^|_)(token|seed|body|prompt|request|content)$"
    r"|(api|admin|private|invoice|ssh|idempotency)[_-]?key|bearer)",
    re.IGNORECASE,
)
# Names in which the words above mean something harmless.
OPEN_NAME = re.compile(r"(_hash|_id|_count|_seconds|_bytes|_chars|_msat|_sats)$", re.IGNORECASE)

# Every repetition is bounded, or cannot begin twice in one run of characters: a text of a megabyte must not take a minute to write down.
PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"(?i)(authorization|cookie)([\"']?\s{0,4}[:=]\s{0,4}[\"']?)[^\n\"'}]+"), rf"\1\2{HIDDEN}"),
    (re.compile(r"(?i)\b(Bearer|Basic|Nostr|L402|LSAT)\s{1,4}[A-Za-z0-9+/=_.:~-]{12,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"(?<=://)[^/@\s'\"]+@"), f"{HIDDEN}@"),  # user:password@host
    (
        re.compile(
            r"(?i)((?:macaroon|preimage|secret|passw|mnemonic|nsec|(?:api|admin|private|invoice)[_-]?key|(?<![a-z])token|(?<=[?&])key)\w{0,24}"
            r"\\{0,2}[\"']?\s{0,4}[:=]\s{0,4}\\{0,2}[\"']?)[^\s\\\"',;&})\]]{4,}"
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\bnsec1[02-9ac-hj-np-z]{20,}"), HIDDEN),
    (re.compile(r"\bsk-[A-Za-z0-9_-]{12,}"), HIDDEN),
    (re.compile(r"(?i)\b(lnurl1[02-9ac-hj-np-z]{8})[02-9ac-hj-np-z]{8,}"), r"\1…"),
    (re.compile(r"(?i)\b(ln(?:bcrt|bc|tbs|tb)[0-9]*[munp]?1[02-9ac-hj-np-z]{8})[02-9ac-hj-np-z]{24,}"), r"\1…"),  # BOLT11
    (re.compile(r"\b(?:AgE|MDA|AgI)[A-Za-z0-9+/_-]{40,}={0,2}"), HIDDEN),  # a macaroon in base64
    (re.compile(r"(?i)\b0201[0-9a-f]{60,}"), HIDDEN),  # and in hex
    # 32 bytes in hex: a payment hash, which may be told, or a preimage or a private key, which may not. Eight digits tell two hashes apart.
    (re.compile(r"(?i)(?<![0-9a-f])([0-9a-f]{8})[0-9a-f]{56}(?![0-9a-f])"), r"\1…"),
)


class Redactor:
    """The filter. Also a structlog processor."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        worth_hiding = sorted({secret for secret in secrets if len(secret) >= SECRET_CHARS_MIN}, key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(secret) for secret in worth_hiding)) if worth_hiding else None

    def __call__(self, _logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
        return {self._name(name): value if name.startswith("_") else self._field(name, value, 0) for name, value in event_dict.items()}

    def text(self, text: str) -> str:
        """`text` without what looks like a secret, cut to a bearable length."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for pattern, instead in PATTERNS:
            text = pattern.sub(instead, text)
        return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:200]} … {text[-SHOWN_CHARS_MAX:]}"

    def _name(self, name: str) -> str:
        return name if len(name) <= NAME_CHARS_MAX else self.text(name)  # a short one has no room for a secret

    def _field(self, name: str, value: object, depth: int) -> object:
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if SECRET_NAME.search(name) and not OPEN_NAME.search(name):
            return HIDDEN
        return self._value(value, depth)

    def _value(self, value: object, depth: int) -> object:
        """Plain values only: what a renderer would call repr() on later would come out unfiltered."""
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if depth < DEPTH_MAX and isinstance(value, MutableMapping):
            return {self._name(str(name)): self._field(str(name), inner, depth + 1) for name, inner in value.items()}
        if depth < DEPTH_MAX and isinstance(value, (list, tuple, set, frozenset)):
            return [self._value(inner, depth + 1) for inner in value]
        return self.text(value if isinstance(value, str) else repr(value))


def configure(*, level: str = "info", style: str = "console", secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Send all logging of this process to `stream` (stderr): `style` is "json" (one object a line) or "console". May be called again."""
    out = sys.stderr if stream is None else stream
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if style == "json"
        # Not its default traceback, which prints the local variables of every frame: prompts, keys, preimages.
        else structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            Redactor(secrets),  # after the traceback has become text, before anything is rendered
            _one_line,
            render,
        ],
    )
    handler = _Handler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # loggers are made at import, before this runs; and tests configure more than once
    )
    _quiet_the_libraries()


def _quiet_the_libraries() -> None:
    """uvicorn's own handlers go, its lines come here. Its access log is off: a path may hold an id that is a capability, or a prompt."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "aiohttp"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = name != "uvicorn.access"
    logging.getLogger("uvicorn.access").disabled = True
    logging.captureWarnings(True)


def _one_line(_logger: WrappedLogger, _method: str, event_dict: EventDict) -> EventDict:
    """A line break or an escape sequence in an event's name would let whoever wrote it forge lines, or paint the operator's terminal."""
    event = event_dict.get("event")
    if isinstance(event, str) and not event.isprintable():
        event_dict["event"] = event.encode("unicode_escape").decode("ascii")
    return event_dict


class _Handler(logging.StreamHandler[Any]):
    def handleError(self, record: logging.LogRecord) -> None:
        """The standard one prints the arguments of the line that failed, unfiltered."""
        kind = sys.exc_info()[0]
        self.stream.write(f"a log line of {record.name} could not be written ({kind.__name__ if kind else 'unknown'})\n")
