"""What a macaroon's caveats may say. Each can only narrow; what is not known here is refused, and of two of a kind both must hold.

services=timmy:0                  which service it is for (ours; without it, a macaroon is not for us)
timmy_capabilities=session,chat   what it may be used for
timmy_valid_until=1800000000      seconds since 1970; `expires_before` says the same
timmy_max_msat=50000              the most that may be spent with it, ever; `max_sats` says the same in sats
timmy_max_msat_per_request=2000   the most that one request may reserve
only=/v1/chat/completions         the path that it is for, or the beginning of it up to a `/`
preimage=01ab…                    the proof that its invoice was paid, from clients that show it so; narrows nothing
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from timmy.clock import SECOND_MS
from timmy.errors import Refusal
from timmy.identity.macaroons import Macaroon, signatures
from timmy.money import MSATS_MAX, Msats, Sats

SERVICE = "timmy"
DIGITS_MAX = 18
SPLIT_MAX = 1_024
PREIMAGE = re.compile(r"[0-9a-fA-F]{64}")
HASH_AT = slice(2, 34)  # of an identifier: version, payment hash, token id


class CaveatUnknown(Refusal):
    status = 401
    code = "caveat_unknown"
    title = "The macaroon has a condition that this server does not know"


class MacaroonExpired(Refusal):
    status = 401
    code = "macaroon_expired"
    title = "The macaroon has expired"


class NotAllowed(Refusal):
    status = 403
    code = "macaroon_not_for_this"
    title = "The macaroon is not for this"


@dataclass(frozen=True, slots=True)
class Use:
    """What somebody is about to do with a macaroon."""

    capability: str  # "session", "chat"
    path: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class Budget:
    """A caveat's own purse: how much may ever be spent through it. `id` is the same for everybody who holds that caveat."""

    id: str
    most: Msats


@dataclass(frozen=True, slots=True)
class Grant:
    """What a macaroon allows, once all its caveats hold."""

    budgets: tuple[Budget, ...]
    per_request: Msats | None


def check(macaroon: Macaroon, root_key: bytes, use: Use) -> Grant:
    """Every caveat holds for this use, or one of CaveatUnknown, MacaroonExpired, NotAllowed says which does not.

    The signature is the caller's to check first (`Macaroon.is_signed_with`)."""
    budgets: list[Budget] = []
    per_request: list[Msats] = []
    is_ours = False
    chain: tuple[bytes, ...] = ()
    for place, caveat in enumerate(macaroon.caveats):
        condition, value = _split(caveat)
        if condition in _CHECKS:
            _CHECKS[condition](value, use)
            is_ours = is_ours or condition == "services"
        elif condition == "preimage":
            _proves(value, macaroon.identifier)
        elif condition in _AMOUNTS:
            most = _AMOUNTS[condition](value)
            if condition.endswith("per_request"):
                per_request.append(most)
            else:
                # Named after the chain up to this caveat: whoever narrows the macaroon further still spends from the same purse.
                chain = chain or signatures(root_key, macaroon.identifier, macaroon.caveats)
                budgets.append(Budget(hashlib.sha256(chain[place + 1]).hexdigest(), most))
        else:
            raise CaveatUnknown(f"This server does not know the condition `{condition[:40]}`, so it cannot hold it.")
    if not is_ours:
        raise NotAllowed("The macaroon does not say that it is for this service.")
    return Grant(tuple(budgets), min(per_request) if per_request else None)


@lru_cache(maxsize=SPLIT_MAX)
def _split(caveat: bytes) -> tuple[str, str]:
    try:
        condition, equals, value = caveat.decode().partition("=")
    except UnicodeDecodeError:
        raise CaveatUnknown("The macaroon has a condition that is not text.") from None
    if not equals:
        raise CaveatUnknown(f"This server does not know the condition `{condition[:40]}`, so it cannot hold it.")
    return condition.strip(), value.strip()


def _proves(value: str, identifier: bytes) -> None:
    if not PREIMAGE.fullmatch(value) or hashlib.sha256(bytes.fromhex(value)).digest() != identifier[HASH_AT]:
        raise NotAllowed("The preimage in the macaroon is not the one of its invoice.")


def _services(value: str, _use: Use) -> None:
    if SERVICE not in (service.partition(":")[0].strip() for service in value.split(",")):
        raise NotAllowed("The macaroon is for another service.")


def _capabilities(value: str, use: Use) -> None:
    if use.capability not in (capability.strip() for capability in value.split(",")):
        raise NotAllowed(f"The macaroon does not allow `{use.capability}`.")


def _valid_until(value: str, use: Use) -> None:
    if use.now_ms >= _whole(value) * SECOND_MS:
        raise MacaroonExpired("The macaroon has expired. Ask whoever gave it to you for a new one.")


def _only(value: str, use: Use) -> None:
    if not value.startswith("/"):  # an empty one would be the beginning of every path, and narrow nothing
        raise CaveatUnknown("A condition of the macaroon has a value that is not a path.")
    if use.path != value and not use.path.startswith(value.rstrip("/") + "/"):
        raise NotAllowed(f"The macaroon is only for {value[:80]}.")


def _whole(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= DIGITS_MAX):
        raise CaveatUnknown("A condition of the macaroon has a value that is not a whole number.")
    return int(value)


def _msats(value: str) -> Msats:
    return Msats(min(_whole(value), MSATS_MAX))


def _sats(value: str) -> Msats:
    return Sats(min(_whole(value), MSATS_MAX // 1_000)).msats


_CHECKS: Mapping[str, Callable[[str, Use], None]] = {
    "services": _services,
    f"{SERVICE}_capabilities": _capabilities,
    f"{SERVICE}_valid_until": _valid_until,
    "expires_before": _valid_until,
    "only": _only,
}
_AMOUNTS: Mapping[str, Callable[[str], Msats]] = {
    f"{SERVICE}_max_msat": _msats,
    "max_sats": _sats,
    f"{SERVICE}_max_msat_per_request": _msats,
}
