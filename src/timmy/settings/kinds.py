"""The kinds of values that a setting can have: how each is read, what is allowed, and how it is shown.

Everything is exact: whole numbers, money types and basis points, never a float. `nan`, `inf`,
`1e9`, `-1`, `0x10` and `1_000` are no numbers here.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Generic, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

from timmy.money import MSATS_MAX, MSATS_PER_SAT, NanoUsd, Sats

T = TypeVar("T")

WHOLE = re.compile(r"[0-9]{1,18}")
DECIMAL = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")
MODEL_NAME = re.compile(r"[!-~]{1,200}")
WALLET_OVER_NOSTR = re.compile(r"nostr\+walletconnect://[0-9a-f]{64}\?[!-~]{1,4000}")
NOSTR_SECRET = re.compile(r"[?&]secret=([0-9a-f]{64})(?![^&])")
HIDDEN = "•••"
SECRET_BYTES_MIN = 16
DISTINCT_CHARACTERS_MIN = 5
PERCENT_MAX = 10_000


class Explained(ValueError):
    """Why a value will not do, in words of ours. What Python says of a value may hold the value, and is never told."""


class Secret:
    """A value that prints as `•••` wherever it lands; `reveal()` is the one way to it, easy to search for."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """What a million tokens of one model cost, as the operator has set it."""

    input: NanoUsd
    output: NanoUsd
    cached: NanoUsd  # input that the provider read from its cache


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """`parse` raises ValueError, which says nothing, or Explained, whose text is told to the operator after `allowed`."""

    parse: Callable[[str], T]
    allowed: str
    show: Callable[[T], str] = str
    secret: bool = False  # the whole value, or a password in it: never told in an error


def whole(least: int, most: int) -> Kind[int]:
    def parse(text: str) -> int:
        if not WHOLE.fullmatch(text):
            raise ValueError
        return _within(int(text), least, most)

    return Kind(parse, f"a whole number from {least} to {most}")


def sats(least: int = 0) -> Kind[Sats]:
    most = MSATS_MAX // MSATS_PER_SAT
    number = whole(least, most)
    return Kind(lambda text: Sats(number.parse(text)), f"a whole number of sats from {least} to {most}", lambda amount: str(amount.value))


def usd() -> Kind[NanoUsd]:
    def parse(text: str) -> NanoUsd:
        return NanoUsd.parse(_decimal(text))

    return Kind(parse, "an amount in US dollars such as 20 or 0.0025, zero or more", str)


def usd_per_btc(least: int, most: int) -> Kind[int]:
    """Dollars with at most two places, kept in cents."""

    def parse(text: str) -> int:
        cents = _scaled(text, 100)
        return _within(cents, least * 100, most * 100)

    return Kind(parse, f"US dollars per bitcoin from {least} to {most}, at most two decimal places", lambda cents: _unscaled(cents, 2))


def percent(most: int = PERCENT_MAX) -> Kind[int]:
    """A percentage with at most two places, kept in basis points (40 is 4000)."""

    def parse(text: str) -> int:
        return _within(_scaled(text, 100), 0, most * 100)

    return Kind(parse, f"a percentage from 0 to {most}, at most two decimal places", lambda points: _unscaled(points, 2))


def switch() -> Kind[bool]:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

    def parse(text: str) -> bool:
        if text.lower() not in words:
            raise ValueError
        return words[text.lower()]

    return Kind(parse, "1 or 0 (also true/false, yes/no, on/off)", lambda on: "1" if on else "0")


def one_of(*choices: str) -> Kind[str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError
        return text.lower()

    return Kind(parse, "one of " + ", ".join(choices))


def listed(*choices: str) -> Kind[tuple[str, ...]]:
    """Names separated by commas, each once; `none` is the empty list."""

    def parse(text: str) -> tuple[str, ...]:
        if text.lower() in ("", "none"):
            return ()
        names = tuple(name.strip().lower() for name in text.split(","))
        if not set(names) <= set(choices) or len(set(names)) != len(names):
            raise ValueError
        return names

    return Kind(parse, "empty, or some of " + ", ".join(choices) + ", separated by commas, each once", ",".join)


def host() -> Kind[str]:
    def parse(text: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", text):
            raise ValueError
        return text

    return Kind(parse, "an IP address or a host name to listen on, such as 127.0.0.1, 0.0.0.0 or ::1")


def model() -> Kind[str]:
    def parse(text: str) -> str:
        if not MODEL_NAME.fullmatch(text):
            raise ValueError
        return text

    return Kind(parse, "a model's name, without spaces")


def models() -> Kind[tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(","))
        if len(set(names)) != len(names) or not all(MODEL_NAME.fullmatch(name) for name in names):
            raise ValueError
        return names

    return Kind(parse, "names of models, separated by commas, each once", ",".join)


def folder() -> Kind[Path]:
    def parse(text: str) -> Path:
        if "\0" in text:
            raise ValueError
        try:
            return Path(text).expanduser().absolute()
        except RuntimeError:
            raise Explained("this user has no home folder") from None

    return Kind(parse, "a folder")


def secret(least: int = 1) -> Kind[Secret]:
    """Something only the operator knows. With `least` it also must not look like a placeholder."""

    def parse(text: str) -> Secret:
        if not text.isprintable() or " " in text:
            raise ValueError
        if least > 1 and (len(text) < least or len(set(text)) < DISTINCT_CHARACTERS_MIN):
            raise Explained('make one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"')
        return Secret(text)

    allowed = f"at least {least} characters, {DISTINCT_CHARACTERS_MIN} of them different, without spaces" if least > 1 else "one word"
    return Kind(parse, allowed, lambda _: HIDDEN, secret=True)


def url() -> Kind[str]:
    """An http(s) URL of somebody else's API, without a trailing slash. It may not carry a password."""

    def parse(text: str) -> str:
        parts = _http(text)
        if parts.query or parts.fragment:
            raise ValueError
        return text.rstrip("/")

    return Kind(parse, "an absolute http:// or https:// URL without a password, query or fragment")


def url_with_password() -> Kind[Secret]:
    def parse(text: str) -> Secret:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.username or not parts.password:
            raise ValueError
        _ = parts.port  # a ValueError when it is none
        return Secret(text.rstrip("/"))

    return Kind(parse, "an URL like http://user:password@127.0.0.1:7777", lambda value: mask_password(value.reveal()), secret=True)


def wallet_over_nostr() -> Kind[Secret]:
    """Its form only (NIP-47); the wallet's adapter reads it to the end, and never quotes it either."""

    def parse(text: str) -> Secret:
        if not WALLET_OVER_NOSTR.fullmatch(text) or len(NOSTR_SECRET.findall(text)) != 1:
            raise ValueError
        return Secret(text)

    return Kind(parse, "an address like nostr+walletconnect://KEY?relay=wss://host&secret=HEX", lambda _: HIDDEN, secret=True)


def origin() -> Kind[str]:
    def parse(text: str) -> str:
        parts = _http(text)
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError
        return text.rstrip("/")

    return Kind(parse, "an absolute http:// or https:// URL without a path, such as https://timmy.example")


def origins() -> Kind[tuple[str, ...]]:
    one = origin()

    def parse(text: str) -> tuple[str, ...]:
        if "*" in text:
            raise Explained("a star would let every web page spend with its visitors' rights: name the pages")
        return tuple(dict.fromkeys(one.parse(part.strip()).lower() for part in text.split(",")))

    return Kind(parse, "origins such as https://shop.example, separated by commas", ",".join)


def networks() -> Kind[tuple[str, ...]]:
    """CIDR networks in their canonical text; a lone address is a network of one."""

    def parse(text: str) -> tuple[str, ...]:
        found = tuple(ipaddress.ip_network(part.strip()) for part in text.split(","))
        if any(network.prefixlen == 0 for network in found):
            raise Explained("the whole internet is no proxy: anyone could then claim any address")
        return tuple(str(network) for network in found)

    return Kind(parse, "IP addresses or networks such as 127.0.0.1, 10.0.0.0/8, separated by commas", ",".join)


def database_url() -> Kind[str]:
    def parse(text: str) -> str:
        if text.startswith("sqlite:///") and len(text) > len("sqlite:///") and ":memory:" not in text:
            return text
        parts = urlsplit(text)
        _ = parts.port
        if parts.scheme in ("postgresql", "postgres") and len(parts.path) > 1 and not re.search(r"\s", text):
            return "postgresql" + text[len(parts.scheme) :]
        if "sqlite" in text:
            raise Explained("a ledger in memory would forget whose sats it holds")
        raise ValueError

    allowed = "sqlite:////absolute/path/timmy.db or postgresql://user:password@host:5432/database"
    return Kind(parse, allowed, mask_password, secret=True)


def rates() -> Kind[Mapping[str, TokenPrices]]:
    """`{"model": {"input": "3.00", "output": "15.00", "cached": "0.30"}}`; without `cached`, the input price holds."""

    def parse(text: str) -> Mapping[str, TokenPrices]:
        try:
            table = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_number, object_pairs_hook=_no_doubles)
        except json.JSONDecodeError as error:
            raise Explained(f"not JSON: {error}") from None
        except RecursionError:
            raise Explained("nested too deeply") from None
        if not isinstance(table, dict):
            raise ValueError
        return {name: _token_prices(name, prices) for name, prices in table.items()}

    def show(table: Mapping[str, TokenPrices]) -> str:
        return json.dumps(
            {name: {"input": str(p.input), "output": str(p.output), "cached": str(p.cached)} for name, p in table.items()},
        )

    return Kind(parse, 'JSON like {"model": {"input": "3.00", "output": "15.00"}}: US dollars per million tokens, zero or more', show)


def mask_password(text: str) -> str:
    """The URL as it may be shown: a password in it, or in its query, is `•••`."""
    text = re.sub(r"(?<=://)([^:@/\s]*):[^@/\s]*@", rf"\1:{HIDDEN}@", text)
    return re.sub(r"(?i)([?&](?:ssl)?password=)[^&\s]*", rf"\1{HIDDEN}", text)


def passwords(text: str) -> list[str]:
    """What opens something in an URL: its password, as it stands there and decoded, or a wallet's secret. Empty when there is none."""
    if text.startswith("nostr+walletconnect:"):
        return NOSTR_SECRET.findall(text)
    try:
        found = urlsplit(text).password
    except ValueError:
        return []
    return [found, unquote(found)] if found else []


def _token_prices(name: str, prices: object) -> TokenPrices:
    if not MODEL_NAME.fullmatch(name) or not isinstance(prices, dict):
        raise Explained(f"look at {name[:80]!r}")
    if not {"input", "output"} <= set(prices) <= {"input", "output", "cached"}:
        raise Explained(f"{name[:80]!r} needs input and output, and may have cached")
    try:
        amounts = {key: NanoUsd.parse(_decimal(str(amount))) for key, amount in prices.items()}
    except ValueError:
        raise Explained(f"look at the amounts of {name[:80]!r}") from None
    cached = amounts.get("cached", amounts["input"])
    if cached > amounts["input"]:
        raise Explained(f"cached input of {name[:80]!r} cannot cost more than input")
    return TokenPrices(amounts["input"], amounts["output"], cached)


def _http(text: str) -> _Parts:
    parts = urlsplit(text)
    _ = parts.port
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or re.search(r"[\s<>\"]", text):
        raise ValueError
    return _Parts(parts.path, parts.query, parts.fragment)


@dataclass(frozen=True, slots=True)
class _Parts:
    path: str
    query: str
    fragment: str


def _within(number: int, least: int, most: int) -> int:
    if not least <= number <= most:
        raise ValueError
    return number


def _decimal(text: str) -> Decimal:
    if not DECIMAL.fullmatch(text):
        raise ValueError
    return Decimal(text)


def _scaled(text: str, scale: int) -> int:
    """A decimal as a whole number of hundredths; a finer one is a ValueError, not rounded."""
    exact = _decimal(text) * scale
    if exact != int(exact):
        raise ValueError
    return int(exact)


def _unscaled(number: int, places: int) -> str:
    whole_part, fraction = divmod(number, 10**places)
    digits = f"{fraction:0{places}d}".rstrip("0")
    return f"{whole_part}.{digits}" if digits else str(whole_part)


def _no_number(word: str) -> NoReturn:
    raise Explained(f"{word} is no price")


def _no_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise Explained("a name stands there twice")
    return table
