"""The root keys of macaroons: the newest mints, all that were not retired verify.

They are read with every use, not kept in memory: a key that one process retires is retired everywhere, at once.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

from timmy.clock import Clock
from timmy.db import Database, Row, Tx
from timmy.identity import store as identity_store
from timmy.identity.macaroons import Macaroon, identifier_of, mint
from timmy.ids import RandomBytes
from timmy.sessions import store

KEY_BYTES = TOKEN_ID_BYTES = 32
# What a session's own key is for. Its holder narrows it by adding caveats; what is added to Timmy later is not in it.
CAVEATS = ("services=timmy:0", "timmy_capabilities=session,chat")
NOBODYS_KEY = hashlib.sha256(b"no key verifies with this one").digest()


class RootKeys:
    def __init__(self, db: Database, clock: Clock, random_bytes: RandomBytes, *, location: str) -> None:
        self._db = db
        self._clock = clock
        self._random_bytes = random_bytes
        self._location = location
        self._is_there = False

    async def ensure(self) -> None:
        """There is a key from now on. Of several processes that come first at once, one makes it."""
        if not self._is_there and not await self._db.read(identity_store.root_keys):
            await self._db.write(store.insert_first_key, self._random_bytes(KEY_BYTES).hex(), self._clock.now_ms())
        self._is_there = True

    async def rotate(self) -> None:
        """A new key mints from now on; what older ones have minted stays valid until `retire_old`."""
        await self._db.write(identity_store.insert_root_key, self._random_bytes(KEY_BYTES).hex(), self._clock.now_ms())

    async def retire_old(self) -> int:
        """All but the newest verify no longer; how many those are. The sessions live on: each shows a macaroon of the newest key."""
        return await self._db.write(identity_store.retire_root_keys, self._clock.now_ms())

    def identifier(self, payment_hash: str) -> str:
        """A session's own, in hex. L402: "Macaroon Identifier"."""
        return identifier_of(payment_hash, self._random_bytes(TOKEN_ID_BYTES)).hex()

    def minter(self, tx: Tx) -> Callable[[str], str]:
        """Identifier → a session's own key: the same each time, until the root key is another."""
        newest = bytes.fromhex(identity_store.root_keys(tx)[0]["secret"])
        return lambda identifier: mint(newest, bytes.fromhex(identifier), self._location, CAVEATS).encode()

    @classmethod
    def seals(cls, tx: Tx, identifier: str) -> tuple[bytes, ...]:
        """Secrets of ours that belong to a session and that its own key does not tell: under the newest root key first."""
        return tuple(hmac.digest(key, b"challenges of " + bytes.fromhex(identifier), hashlib.sha256) for key in cls.that_sign(tx))

    @staticmethod
    def that_sign(tx: Tx) -> list[bytes]:
        """The root keys that verify now."""
        return keys_in(identity_store.root_keys(tx))


def keys_in(rows: Sequence[Row]) -> list[bytes]:
    """The keys in these rows; where there is none, one that verifies nothing."""
    return [bytes.fromhex(row["secret"]) for row in rows] or [NOBODYS_KEY]


def is_whole(macaroon: Macaroon) -> bool:
    """Whether nothing was added to it that narrows."""
    return tuple(caveat for caveat in macaroon.caveats if not caveat.startswith(b"preimage=")) == tuple(map(str.encode, CAVEATS))


def signer_of(macaroon: Macaroon, keys: list[bytes]) -> bytes | None:
    """The root key that this macaroon was minted with. All are tried, whichever fits, so that the time says nothing."""
    found = None
    for key in keys:
        if macaroon.is_signed_with(key):
            found = key
    return None if found == NOBODYS_KEY else found
