"""What a macaroon of LND's may do, read from the macaroon itself.

Asking LND (`CheckMacaroonPermissions`) needs a right that Timmy should not have. It is not needed: LND writes what it allows into the
macaroon's identifier, and its signature covers that, so a macaroon that LND takes allows what stands in it. Caveats can only take away.

The form is version 2 of libmacaroons' binary format; the identifier is a byte 3 and a protobuf `MacaroonId` (LND's `lightning.proto`). LND
takes no other (`CheckMacAuth` in its `macaroons/service.go`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from timmy.lightning.wallets.facts import printable

MACAROON_V2, IDENTIFIER_V3 = 2, 3
LOCATION, IDENTIFIER, END = 1, 2, 0  # fields of a version 2 macaroon
OPS, ENTITY, ACTIONS = 3, 1, 2  # fields of MacaroonId and of its Op
TEXT = 2  # protobuf's wire type of bytes, text and messages
VARINT_BYTES_MAX = 5
RIGHT_CHARS_MAX = 60

# Each call that the adapter makes, and the broader right that LND would take for it, too (its `MainRPCServerPermissions`).
CALLS: dict[str, tuple[str, str]] = {
    "/lnrpc.Lightning/GetInfo": ("info", "read"),
    "/lnrpc.Lightning/ChannelBalance": ("offchain", "read"),
    "/lnrpc.Lightning/ListChannels": ("offchain", "read"),
    "/lnrpc.Lightning/AddInvoice": ("invoices", "write"),
    "/lnrpc.Lightning/LookupInvoice": ("invoices", "read"),
    "/lnrpc.Lightning/SubscribeInvoices": ("invoices", "read"),
    "/routerrpc.Router/SendPaymentV2": ("offchain", "write"),
    "/routerrpc.Router/TrackPaymentV2": ("offchain", "read"),
}
# Reading, and invoices: more than is needed, and harmless. `offchain:write` is not: besides paying, it abandons channels, puts old channel
# backups in force, and forgets payments, after which nobody can tell any more whether one was made.
HARMLESS = frozenset(pair for pair in CALLS.values() if pair != ("offchain", "write"))
TO_SELL = tuple(CALLS)
TO_BUY = ("/lnrpc.Lightning/GetInfo", "/routerrpc.Router/SendPaymentV2", "/routerrpc.Router/TrackPaymentV2")
TO_ASK_FOR = ("/lnrpc.Lightning/AddInvoice",)
COMMAND = "lncli bakemacaroon --save_to=timmy.macaroon " + " ".join(f"uri:{call}" for call in CALLS)


@dataclass(frozen=True, slots=True)
class Rights:
    """Pairs of LND's entity and action; for a single call ("uri", "/package.Service/Method")."""

    ops: frozenset[tuple[str, str]]

    def missing(self, needs: Collection[str]) -> tuple[str, ...]:
        """Calls that are needed and not allowed."""
        return tuple(call for call in needs if ("uri", call) not in self.ops and CALLS[call] not in self.ops)

    def excess(self) -> tuple[str, ...]:
        """What it allows and nobody needs, as LND writes it; harmless things left out."""
        more = {op for op in self.ops if op not in HARMLESS and not (op[0] == "uri" and op[1] in CALLS)}
        return tuple(sorted(printable(f"{entity}:{action}", RIGHT_CHARS_MAX) for entity, action in more))


def rights_of(macaroon: str) -> Rights:
    """What this macaroon (in hex) allows. ValueError, which does not quote it, when LND could not read it either."""
    try:
        return Rights(frozenset(_ops(_identifier(bytes.fromhex(macaroon)))))
    except (ValueError, IndexError):  # a UnicodeDecodeError is a ValueError
        raise ValueError("That is no macaroon of LND's") from None


def _identifier(raw: bytes) -> bytes:
    if raw[0] != MACAROON_V2:
        raise ValueError
    at = 1
    while True:
        kind, at = _varint(raw, at)
        if kind not in (LOCATION, IDENTIFIER):
            raise ValueError
        size, at = _varint(raw, at)
        value, at = _take(raw, at, size)
        if kind == IDENTIFIER:
            break
    if raw[at] != END or value[0] != IDENTIFIER_V3:
        raise ValueError
    return value[1:]


def _ops(message: bytes) -> list[tuple[str, str]]:
    found = []
    for field, value in _fields(message):
        if field != OPS:
            continue
        parts = _fields(value)
        entities = [text.decode() for number, text in parts if number == ENTITY]
        entity = entities[-1] if entities else ""
        found += [(entity, text.decode()) for number, text in parts if number == ACTIONS]
    return found


def _fields(message: bytes) -> list[tuple[int, bytes]]:
    """The fields of a protobuf message that has none but bytes, text and messages in it."""
    found, at = [], 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 != TEXT:
            raise ValueError
        size, at = _varint(message, at)
        value, at = _take(message, at, size)
        found.append((tag >> 3, value))
    return found


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place in range(VARINT_BYTES_MAX):
        byte = raw[at + place]
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, at + place + 1
    raise ValueError


def _take(raw: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(raw):
        raise ValueError
    return raw[at : at + size], at + size
