"""The client for asyncio: `AsyncTimmy`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from timmy.client import destinations, receipts, store
from timmy.client.answers import Estimate, Job, Reply, SessionStatus
from timmy.client.buying import Answer, Buying, Event
from timmy.client.errors import AnswerInvalid, LimitReached, NotKnownHere
from timmy.client.http import TimmyHttp
from timmy.client.notebook import Limits, Notebook
from timmy.client.prefunding import Prefunding, narrowed
from timmy.client.purses import Purse, open_purse
from timmy.client.spending import Spending
from timmy.errors import TimmyError
from timmy.money import Msats, Sats

DEFAULT_LIMITS = Limits()


class AsyncTimmy:
    """One server, one purse, one notebook.

        async with AsyncTimmy("https://timmy.example.com", purse="lnbits+https://:KEY@host") as timmy:
            print((await timmy.ask("What is a satoshi?")).text)

    `purse`: a line of text (purses.WAYS), or any `Purse`; None can ask, and cannot pay. `limits` hold for this client; those in the
    notebook hold for all. `token`: a Nostr login's. Raises the errors of `timmy.client.errors`.
    """

    def __init__(
        self,
        url: str,
        *,
        purse: Purse | str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        notebook: Notebook | Path | None = None,
        token: str | None = None,
    ) -> None:
        self.http = TimmyHttp(url, token=token)
        self.notebook = notebook if isinstance(notebook, Notebook) else Notebook(notebook)
        self._address = purse if isinstance(purse, str) else None
        self._spending = Spending(self.notebook, None if isinstance(purse, str) else purse, limits)
        self._buying = Buying(self.http, self.notebook, self._spending)
        self._prefunding = Prefunding(self.http, self.notebook, self._spending)

    async def __aenter__(self) -> Self:
        await self._purse()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self.http.aclose()
        if self._spending.purse is not None:
            await self._spending.purse.aclose()

    async def _purse(self) -> None:
        if self._address is not None and self._spending.purse is None:
            self._spending.purse = await open_purse(self._address, self.http.url)

    # One answer ------------------------------------------------------------------------------------------

    async def estimate(self, request: str) -> Estimate:
        """What it would cost now. Changes nothing."""
        return await self._buying.estimate(request)

    async def ask(self, request: str, *, most: Sats | None = None, refund_to: str | None = None) -> Answer:
        """Buy one answer: judged, paid, done, and what was too much taken back. `most`: for this call, with fees. `refund_to`: a Lightning
        address or an LNURL; without it, the purse."""
        return await last(self.stream(request, most=most, refund_to=refund_to))

    async def stream(self, request: str, *, most: Sats | None = None, refund_to: str | None = None) -> AsyncGenerator[Event, None]:
        """The same as it happens: `Moved` jobs, `Piece`s of the answer (`Afresh`: it is begun again), and the `Answer` at last.

        LimitReached and DestinationWrong come before anything is paid. Interrupted later, `resume()` goes on with it."""
        if refund_to:
            destinations.read_for_later(refund_to)
        await self._purse()
        made = await self._buying.check_price(request, most)
        id = await self._buying.order(request, most=most, refund_to=refund_to, work=made.work)
        try:
            async with aclosing(self._buying.follow(id)) as events:
                async for event in events:
                    yield event
        except LimitReached as reached:
            await self.notebook.drop(id, reached.message)  # others were faster; where nothing was paid, there is nothing to resume
            raise

    async def follow(self, purchase: str) -> AsyncGenerator[Event, None]:
        """A purchase of the notebook, from wherever it is: what was paid is followed, and not paid again."""
        await self._purse()
        async with aclosing(self._buying.follow(purchase)) as events:
            async for event in events:
                yield event

    async def follow_session(self, purchase: str) -> SessionStatus:
        """The same for a session's deposit or top-up."""
        await self._purse()
        return await self._prefunding.follow(purchase)

    async def resume(self) -> list[Answer | SessionStatus]:
        """Go on with everything at this server that was interrupted; how each ended. Where one cannot be gone on with, the others are, and
        its trouble is raised at the end."""
        await self._purse()
        done: list[Answer | SessionStatus] = []
        troubles: list[TimmyError] = []
        for row in await self.notebook.do(store.open_purchases, self.http.url):
            try:
                done.append(await (last(self.follow(row["id"])) if row["kind"] == "job" else self.follow_session(row["id"])))
            except TimmyError as trouble:
                troubles.append(trouble)
        if troubles:
            raise troubles[0]
        return done

    async def job(self, job_id: str) -> Job:
        return await self._buying.job(job_id)

    async def refund(
        self, job_id: str, *, invoice: str | None = None, lightning_address: str | None = None, lnurl: str | None = None
    ) -> Job:
        """Take back what is owed, to one of them. An invoice is of exactly that amount."""
        place = destinations.only_one(invoice=invoice, lightning_address=lightning_address, lnurl=lnurl)
        if place is None:
            raise ValueError("A refund goes to one place: an invoice, a Lightning address, or an LNURL.")
        return await self._buying.refund(job_id, place)

    # Sessions --------------------------------------------------------------------------------------------

    async def open_session(self, amount: Sats) -> AsyncSession:
        """Pay ahead. The session is kept in the notebook."""
        await self._purse()
        status = await self._prefunding.follow(await self._prefunding.begin("session", amount))
        return await self.session(status.id)

    async def session(self, session_id: str | None = None) -> AsyncSession:
        """One of the notebook's; without a name the one of this server that was opened last and is still open."""
        rows = await self.notebook.do(store.sessions, self.http.url)
        found = next((row for row in rows if row["id"] == session_id or (session_id is None and row["closed_at_ms"] is None)), None)
        if found is None:
            which = "such session" if session_id else "open session"
            raise NotKnownHere(f"There is no {which} with {self.http.url} in {self.notebook.path}. Open one first, or name its server.")
        return AsyncSession(self, self._prefunding, found["id"], found["macaroon"])

    async def spent_today(self) -> Msats:
        """Counted in the notebook against the day's limit, whatever program spent it."""
        return await self.notebook.spent_today()


class AsyncSession:
    """An open session. `macaroon` spends from it: as secret as the sats in it."""

    def __init__(self, timmy: AsyncTimmy, prefunding: Prefunding, id: str, macaroon: str) -> None:
        self.id = id
        self.macaroon = macaroon
        self._timmy = timmy
        self._prefunding = prefunding

    def __repr__(self) -> str:
        return f"AsyncSession({self.id[:8]}…)"

    async def status(self) -> SessionStatus:
        return await self._prefunding.status(self.id)

    async def request(self, request: str, *, key: str | None = None) -> Reply:
        """Judged and worked on in one call, and its receipt kept. `key`: asked again with the same, it is done once and charged once."""
        reply = await self._prefunding.request(self.id, self.macaroon, request, key=key)
        path = self._receipt_path(reply.id)
        await receipts.keep(self._timmy.http, self._timmy.notebook, path, reply.id, self.macaroon)  # or it can be had later
        return reply

    async def receipt(self, request_id: str) -> Mapping[str, Any]:
        """The server's signed receipt of a request that has ended; `receipts.read` verifies it. It is kept in the notebook."""
        return await self._kept(self._receipt_path(request_id), request_id)

    def _receipt_path(self, request_id: str) -> str:
        return f"/api/sessions/{self.id}/requests/{request_id}/receipt"

    async def completion_receipt(self, completion_id: str) -> Mapping[str, Any]:
        """The same of a call of /v1 that was paid with this session's key, within a day of it."""
        return await self._kept(receipts.completion_path(completion_id), completion_id)

    async def _kept(self, path: str, subject: str) -> Mapping[str, Any]:
        return await receipts.fetch(self._timmy.http, self._timmy.notebook, path, subject, self.macaroon)

    async def top_up(self, amount: Sats) -> SessionStatus:
        await self._timmy._purse()
        return await self._prefunding.follow(await self._prefunding.begin("topup", amount, self.id))

    async def close(self, *, lightning_address: str | None = None, lnurl: str | None = None, invoice: str | None = None) -> SessionStatus:
        """Take the rest back, to the address, to the LNURL, to an invoice of exactly the rest in whole sats, or to the purse."""
        place = destinations.only_one(invoice=invoice, lightning_address=lightning_address, lnurl=lnurl)
        await self._timmy._purse()
        return await self._prefunding.close(self.id, self.macaroon, place)

    def attenuate(
        self,
        *,
        most: Sats | None = None,
        most_per_request: Sats | None = None,
        valid_until_ms: int | None = None,
        capabilities: Sequence[str] = (),
        only: str | None = None,
    ) -> str:
        """A smaller key, for somebody who is trusted with less. Made here: the server is not asked, and need not be up."""
        return narrowed(
            self.macaroon,
            most=most,
            most_per_request=most_per_request,
            valid_until_ms=valid_until_ms,
            capabilities=capabilities,
            only=only,
        )


async def last(events: AsyncGenerator[Event, None]) -> Answer:
    """Follow to the end, and what it was."""
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Answer):
                return event
    raise AnswerInvalid("The job's events ended without an answer.")
