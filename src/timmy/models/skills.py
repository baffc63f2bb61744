"""What the built-in demo agent can do without a language model: a table of small skills, each a pattern and a function of its match.

Every skill answers from the text alone (and the clock, for dates); the same question has the same answer. A skill that finds that it
cannot answer after all says None, and the next one is asked.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from timmy.clock import SECOND_MS

SATS_PER_BTC = 100_000_000
_DIGITS_MAX = 40
_POWER_MAX = 128
_SUM_CHARS_MAX = 200
REQUEST_CHARS_MAX = 2_000  # some patterns look twice over the rest of the text: a megabyte would keep the whole server waiting

_DATE = r"(\d{4}-\d{2}-\d{2})"


@dataclass(frozen=True, slots=True)
class Skill:
    example: str  # shown to people, and tried by a test: it must be this skill that answers it
    pattern: re.Pattern[str]
    answer: Callable[[re.Match[str], int], str | None]  # the match, and now in milliseconds


def answer(request: str, now_ms: int) -> str | None:
    """The first skill's answer to a request, None if there is none for it, or if it is longer than REQUEST_CHARS_MAX."""
    if len(request) > REQUEST_CHARS_MAX:
        return None
    for skill in SKILLS:
        match = skill.pattern.search(request)
        if match is not None and (said := skill.answer(match, now_ms)) is not None:
            return said
    return None


# ---- numbers


def _sum(match: re.Match[str], _: int) -> str | None:
    written = match["sum"].strip().rstrip("=?. ")
    if len(written) > _SUM_CHARS_MAX or not re.search(r"\d\s*\)*\s*(?:[-+*/%^x×÷−]|\*\*)", written):
        return None
    plain = written.replace("^", "**").replace("×", "*").replace("x", "*").replace("÷", "/").replace("−", "-")
    try:
        value = _value(ast.parse(plain.strip(), mode="eval").body)
    except ZeroDivisionError:
        return f"{written}: nothing can be divided by zero."
    except (ValueError, SyntaxError, RecursionError):
        return None
    return f"{written} = {_shown(value)}"


def _value(node: ast.expr) -> Fraction:
    """Exact arithmetic, and nothing but arithmetic. ValueError for anything else, and for what grows too large."""
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            value = Fraction(str(node.value))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = -_value(operand)
        case ast.BinOp(left=left, op=operator, right=right):
            value = _combined(_value(left), operator, _value(right))
        case _:
            raise ValueError("not arithmetic")
    if abs(value) >= 10**_DIGITS_MAX or value.denominator >= 10**_DIGITS_MAX:
        raise ValueError("too large")
    return value


def _combined(left: Fraction, operator: ast.operator, right: Fraction) -> Fraction:
    match operator:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.FloorDiv():
            return Fraction(left // right)
        case ast.Mod():
            return left % right
        case ast.Pow() if right.denominator == 1 and abs(right) <= _POWER_MAX and abs(left) <= 10**_DIGITS_MAX:
            return Fraction(left ** int(right))
        case _:
            raise ValueError("not arithmetic")


def _shown(value: Fraction) -> str:
    if value.denominator == 1:
        return f"{value.numerator:,}".replace(",", " ") if abs(value) >= 10_000 else str(value.numerator)
    decimal = Decimal(value.numerator) / Decimal(value.denominator)
    rounded = decimal.quantize(Decimal("0.000001")).normalize() if abs(decimal) < 10**20 else decimal
    exact = Fraction(str(rounded)) == value
    return f"{rounded:f}" if exact else f"about {rounded:f} (exactly {value.numerator}/{value.denominator})"


def _sats(match: re.Match[str], _: int) -> str | None:
    try:
        sats = Decimal(match["amount"]) * SATS_PER_BTC
    except InvalidOperation:
        return None
    if sats != int(sats) or sats > 21_000_000 * SATS_PER_BTC:
        return f"{match['amount']} BTC is no amount: a bitcoin has {SATS_PER_BTC} sats, and there will never be 21 million of them."
    return f"{match['amount']} BTC is {int(sats)} sats."


# ---- words


def _reversed(match: re.Match[str], _: int) -> str:
    return match["text"].strip()[::-1]


def _uppercase(match: re.Match[str], _: int) -> str:
    return match["text"].strip().upper()


def _lowercase(match: re.Match[str], _: int) -> str:
    return match["text"].strip().lower()


def _sorted(match: re.Match[str], _: int) -> str:
    items = [item.strip() for item in re.split(r"[,\n]", match["text"]) if item.strip()]
    return ", ".join(sorted(items, key=str.casefold))


def _counted(match: re.Match[str], _: int) -> str:
    text = match["text"].strip()
    words, letters = len(text.split()), sum(char.isalpha() for char in text)
    return f"{words} {'word' if words == 1 else 'words'}, {len(text)} characters, {letters} of them letters."


def _hashed(match: re.Match[str], _: int) -> str:
    return hashlib.sha256(match["text"].strip().encode()).hexdigest()


_HAIKUS = (
    ("{about}, in the dusk", "a small lamp counts its own sparks", "the change is returned"),
    ("{about}: first snow", "an invoice folds like a leaf", "lightning, far away"),
    ("The kettle whispers", "of {about}; outside, one bird", "pays for its morning"),
)


def _haiku(match: re.Match[str], _: int) -> str:
    about = (match["about"] or "a quiet workshop").strip(" .!?")[:60]
    chosen = _HAIKUS[hashlib.sha256(about.encode()).digest()[0] % len(_HAIKUS)]
    poem = "\n".join(line.format(about=about) for line in chosen)
    return poem[:1].upper() + poem[1:]


# ---- dates (the proleptic Gregorian calendar, in UTC)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _days_between(match: re.Match[str], _: int) -> str | None:
    first, second = _day(match[1]), _day(match[2])
    if first is None or second is None:
        return None
    days = abs((second - first).days)
    return f"From {first} to {second} it is {days} {'day' if days == 1 else 'days'}."


def _weekday(match: re.Match[str], _: int) -> str | None:
    day = _day(match[1])
    return None if day is None else f"{day} is a {day:%A}."


def _today(_: re.Match[str], now_ms: int) -> str:
    now = datetime.fromtimestamp(now_ms // SECOND_MS, UTC)
    return f"It is {now:%A}, {now:%Y-%m-%d}, {now:%H:%M} UTC."


# ---- about the house

_TOPICS = {
    "timmy": (
        "Timmy sells an AI agent's work for Bitcoin Lightning payments: no account, no card. You pay a small fee to have a request"
        " judged, then the price of the work. What the work did not cost is paid back."
    ),
    "lightning": (
        "Lightning is a network on top of Bitcoin in which a payment of a few sats arrives within seconds, for next to nothing."
        " An invoice asks for one payment; the preimage is the proof that it was paid."
    ),
    "sat": "A sat (satoshi) is the smallest unit on Bitcoin's chain: 0.00000001 BTC. Lightning counts in thousandths of it, millisats.",
    "refund": (
        "After the work its real cost is known. What you paid above it is owed back to you, and is paid once, to the invoice,"
        " LNURL or Lightning address that you give. If the work fails, all that you paid for it goes back."
    ),
    "pool": (
        "A part of every payment goes into the generosity pool. It pays for requests of people who have earned trust, and never"
        " gives a sat that it does not hold."
    ),
    "macaroon": (
        "A macaroon is a key that its holder can make weaker: shorter-lived, with less to spend, for fewer paths."
        " Timmy's sessions use them."
    ),
}


def _topic(match: re.Match[str], _: int) -> str | None:
    word = match["topic"].lower()
    return next((text for name, text in _TOPICS.items() if word.startswith(name)), None)


def _greeting(_: re.Match[str], __: int) -> str:
    return "Hello! Ask me what I can do, or ask me anything."


def _help(_: re.Match[str], __: int) -> str:
    return "I can do a few small things, for example:\n" + "\n".join(f"- {skill.example}" for skill in SKILLS)


def _skill(example: str, pattern: str, answered: Callable[[re.Match[str], int], str | None]) -> Skill:
    return Skill(example, re.compile(pattern, re.IGNORECASE | re.DOTALL), answered)


_TEXT = r"\s*(?:the (?:words?|text|letters|characters) )?(?:(?:in|of)\b)?\s*:?\s*(?P<text>.+)$"

SKILLS: tuple[Skill, ...] = (
    _skill(
        "What is 17 * 23?",
        r"^\s*(?:please\s+)?(?:what(?:'s| is)|how much is|calculate|compute)?\s*(?P<sum>[-\d(.][-+*/%^x×÷−().\d\s=?]*)$",
        _sum,
    ),
    _skill("How many sats are 0.015 BTC?", r"\bsats?\b.*?(?P<amount>\d{1,9}(?:\.\d{1,12})?)\s*(?:btc|bitcoins?)\b", _sats),
    _skill("Reverse: never odd or even", r"\breverse" + _TEXT, _reversed),
    _skill("Uppercase: make me loud", r"\bupper[- ]?case" + _TEXT, _uppercase),
    _skill("Lowercase: MAKE ME QUIET", r"\blower[- ]?case" + _TEXT, _lowercase),
    _skill("Sort: pear, apple, fig", r"\bsort" + _TEXT, _sorted),
    _skill("Count the words in: a sat is a satoshi", r"\bcount" + _TEXT, _counted),
    _skill("SHA-256 of: hello", r"\bsha-?256" + _TEXT, _hashed),
    _skill("Write a haiku about rain", r"\bhaiku\b(?:\s+(?:about|on|for)\s+(?P<about>[^\n]+))?", _haiku),
    _skill("How many days are there between 2024-01-01 and 2024-12-25?", r"\bdays\b.*?" + _DATE + r".*?" + _DATE, _days_between),
    _skill("Which day of the week was 2009-01-03?", r"\b(?:week|day)\b.*?" + _DATE, _weekday),
    _skill("What is the date today?", r"\b(?:date|day|time)\b.*\b(?:today|now|it)\b|\bwhat time\b|\btoday's date\b", _today),
    _skill("What can you do?", r"\bwhat can you do\b|^\s*help\s*[.!?]*$", _help),
    _skill(
        "What is a macaroon?",
        r"\b(?:what|who|how|explain|tell)\b.*\b(?P<topic>timmy|lightning|sats?|satoshis?|refunds?|pool|macaroons?)\b",
        _topic,
    ),
    _skill("Hello!", r"^\s*(?:hello|hi|hey|good (?:morning|evening|day))\b", _greeting),
)
