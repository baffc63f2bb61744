"""Macaroons that were brought, checked for what is about to be done with them: many at once, from one snapshot."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from timmy.db import Row, Tx
from timmy.errors import Refusal
from timmy.identity import store as identity_store
from timmy.identity.caveats import HASH_AT, Use, check
from timmy.identity.macaroons import Macaroon
from timmy.sessions import store
from timmy.sessions.keys import keys_in, signer_of
from timmy.sessions.protocol import Permit
from timmy.sessions.refusals import MacaroonUnknown, NotOpenYet
from timmy.sessions.terms import Terms
from timmy.sessions.views import tiers_of

PAID = "settled"
HASH_IN_HEX = slice(2 * HASH_AT.start, 2 * HASH_AT.stop)


@dataclass(frozen=True, slots=True)
class Brought:
    macaroon: Macaroon
    use: Use


def permits(tx: Tx, brought: Sequence[Brought], terms: Terms) -> list[Permit | Refusal]:
    """What each may do, or why not: MacaroonUnknown, CaveatUnknown, MacaroonExpired, NotAllowed, NotOpenYet."""
    asked = identity_store.ask_root_keys(tx)
    rows = _sessions(tx, {each.macaroon.identifier.hex() for each in brought})
    keys = keys_in(asked.rows)
    tiers = tiers_of(tx, [row["pubkey"] for row in rows.values()], terms, brought[0].use.now_ms)
    outcomes: list[Permit | Refusal] = []
    for each in brought:
        root_key, row = signer_of(each.macaroon, keys), rows.get(each.macaroon.identifier.hex())
        try:
            if root_key is None or row is None:  # one answer for both, after the same work: which it was is nobody's business
                raise MacaroonUnknown(
                    "This macaroon was not made here, or it was changed, or its key has been retired. Copy it again, whole."
                )
            if row.get("topup_state", PAID) != PAID:  # it was offered for a payment, and would be given away without
                raise NotOpenYet("This key's top-up has not been paid. Pay its invoice first.")
            grant = check(each.macaroon, root_key, each.use)
            outcomes.append(Permit(row["id"], row["pubkey"], tiers[row["pubkey"]], grant))
        except Refusal as refusal:
            outcomes.append(refusal)
    return outcomes


def _sessions(tx: Tx, identifiers: Set[str]) -> dict[str, Row]:
    """By identifier: the session that it was made for, or the one that its payment has topped up."""
    rows = {row["identifier"]: row for row in store.ask_identifiers(tx, identifiers).rows}
    hashes = {identifier: identifier[HASH_IN_HEX] for identifier in identifiers - rows.keys()}
    if hashes:
        topped_up = store.of_topups(tx, set(hashes.values()))
        rows |= {identifier: topped_up[hash] for identifier, hash in hashes.items() if hash in topped_up}
    return rows
