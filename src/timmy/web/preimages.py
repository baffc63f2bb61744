"""What the wallet says of invoices that were paid. It is asked once for each, a few at a time, however many want a receipt: it has
payments to make besides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from timmy.clock import SECOND_MS, Clock
from timmy.lightning.wallets.protocol import InvoiceLookup, Settled, WalletDown

LOOK_SECONDS = 5.0
LOOKS_AT_ONCE = 4
KEPT_MAX = 10_000
AGAIN_AFTER_MS = SECOND_MS  # where it did not say
WALLET_SILENT = "The server's wallet was not answering."
WALLET_FORGOT = "The server's wallet does not know this payment any more."


class Preimages:
    def __init__(self, look: Callable[[str], Awaitable[InvoiceLookup]], clock: Clock) -> None:
        self._look = look
        self._clock = clock
        self._gate = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._told: dict[str, tuple[Settled | str, int]] = {}  # payment hash → what it said, and when; the latest is last
        self._looking: dict[str, asyncio.Task[Settled | str]] = {}

    async def of(self, payment_hash: str) -> Settled | str:
        """Of an invoice that our books know as paid; a text says why the wallet does not tell."""
        if (known := self._known(payment_hash)) is not None:
            return known
        looking = self._looking.get(payment_hash)
        if looking is None:  # whoever asks meanwhile waits for the same answer
            looking = self._looking[payment_hash] = asyncio.create_task(self._look_once(payment_hash))
            looking.add_done_callback(lambda _: self._looking.pop(payment_hash, None))
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await asyncio.shield(looking)  # a reader that leaves must not take the answer from the others
        except TimeoutError:
            return WALLET_SILENT

    async def _look_once(self, payment_hash: str) -> Settled | str:
        async with self._gate:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    return self._keep(payment_hash, await self._asked(payment_hash))
            except TimeoutError:
                return self._keep(payment_hash, WALLET_SILENT)

    def _known(self, payment_hash: str) -> Settled | str | None:
        told, at_ms = self._told.get(payment_hash, (None, 0))
        return told if isinstance(told, Settled) or self._clock.now_ms() - at_ms < AGAIN_AFTER_MS else None

    async def _asked(self, payment_hash: str) -> Settled | str:
        try:
            found = await self._look(payment_hash)
        except WalletDown:
            return WALLET_SILENT
        return found if isinstance(found, Settled) else WALLET_FORGOT

    def _keep(self, payment_hash: str, told: Settled | str) -> Settled | str:
        self._told.pop(payment_hash, None)
        self._told[payment_hash] = told, self._clock.now_ms()
        if len(self._told) > KEPT_MAX:
            del self._told[next(iter(self._told))]
        return told
