"""What the hallways may ask of the jobs room. `Jobs` in flow.py is the one that does it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from timmy.idempotency import Key
from timmy.jobs.model import JobNews, JobView


@dataclass(frozen=True, slots=True)
class ToInvoice:
    payment_request: str


@dataclass(frozen=True, slots=True)
class ToLightningAddress:
    address: str


@dataclass(frozen=True, slots=True)
class ToLnurl:
    lnurl: str


__all__ = ["Destination", "JobsDesk", "Key", "ToInvoice", "ToLightningAddress", "ToLnurl"]

Destination = ToInvoice | ToLightningAddress | ToLnurl


class JobsDesk(Protocol):
    async def submit(self, request: str, *, refund_to: str | None = None, key: Key | None = None, pubkey: str | None = None) -> JobView:
        """A new job, waiting for its evaluation fee. The same key and body answers with the same job, another body is a Refusal (422).

        `request` has been checked for length, and `pubkey` is the caller's proven key. `refund_to`: a Lightning address, refused if it is
        none. WalletDown: no invoice could be had, and nothing was kept."""
        ...

    async def view(self, job_id: str) -> JobView:
        """JobNotFound (404) for an unknown id. A look at an unpaid invoice is also a hint to look at the wallet."""
        ...

    def follow(self, job_id: str, *, after_seq: int = 0) -> AsyncIterator[JobNews]:
        """What has happened since `after_seq`, then what happens; ends when the job has ended and no payout is on its way."""
        ...

    async def so_far(self, job_id: str) -> str:
        """What of the answer has been written yet, while it is being written."""
        ...

    async def refund(self, job_id: str, destination: Destination, *, key: Key | None = None) -> JobView:
        """Pay what is owed to `destination`, once. Refusals say what would work; the same destination again is the same answer."""
        ...
