"""Macaroons that were brought, checked for what is about to be done with them: many at once, from one snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from timmy.db import Tx
from timmy.errors import Refusal
from timmy.identity.caveats import Use, check
from timmy.identity.macaroons import Macaroon
from timmy.sessions import store
from timmy.sessions.keys import RootKeys, signer_of
from timmy.sessions.protocol import Permit
from timmy.sessions.refusals import MacaroonUnknown
from timmy.sessions.terms import Terms
from timmy.sessions.views import tiers_of


@dataclass(frozen=True, slots=True)
class Brought:
    macaroon: Macaroon
    use: Use


def permits(tx: Tx, brought: Sequence[Brought], terms: Terms) -> list[Permit | Refusal]:
    """What each may do, or why not: MacaroonUnknown, CaveatUnknown, MacaroonExpired, NotAllowed."""
    keys = RootKeys.that_sign(tx)
    rows = store.of_identifiers(tx, {each.macaroon.identifier.hex() for each in brought})
    tiers = tiers_of(tx, [row["pubkey"] for row in rows.values()], terms, brought[0].use.now_ms)
    outcomes: list[Permit | Refusal] = []
    for each in brought:
        root_key, row = signer_of(each.macaroon, keys), rows.get(each.macaroon.identifier.hex())
        try:
            if root_key is None or row is None:  # one answer for both, after the same work: which it was is nobody's business
                raise MacaroonUnknown(
                    "This macaroon was not made here, or it was changed, or its key has been retired. Copy it again, whole."
                )
            grant = check(each.macaroon, root_key, each.use)
            outcomes.append(Permit(row["id"], row["pubkey"], tiers[row["pubkey"]], grant))
        except Refusal as refusal:
            outcomes.append(refusal)
    return outcomes
