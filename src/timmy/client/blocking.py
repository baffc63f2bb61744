"""The client for programs without asyncio: `Timmy`, the same calls, each of which returns when it is done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from timmy.client.answers import Estimate, Job, Reply, SessionStatus
from timmy.client.asynchronous import DEFAULT_LIMITS, AsyncSession, AsyncTimmy
from timmy.client.buying import Answer, Event
from timmy.client.notebook import Limits, Notebook
from timmy.client.purses import Purse
from timmy.money import Msats, Sats

R = TypeVar("R")


class Timmy:
    """See AsyncTimmy.

        with Timmy("https://timmy.example.com", purse="lnbits+https://:KEY@host") as timmy:
            print(timmy.ask("What is a satoshi?").text)

    The work is done in a thread of its own, so it may be used from any thread, also where an event loop runs.
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
        self._timmy = AsyncTimmy(url, purse=purse, limits=limits, notebook=notebook, token=token)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="timmy client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._run(self._timmy.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def estimate(self, request: str) -> Estimate:
        return self._run(self._timmy.estimate(request))

    def ask(self, request: str, *, most: Sats | None = None, refund_to: str | None = None) -> Answer:
        return self._run(self._timmy.ask(request, most=most, refund_to=refund_to))

    def stream(self, request: str, *, most: Sats | None = None, refund_to: str | None = None) -> Iterator[Event]:
        return self._iterate(self._timmy.stream(request, most=most, refund_to=refund_to))

    def follow(self, purchase: str) -> Iterator[Event]:
        return self._iterate(self._timmy.follow(purchase))

    def resume(self) -> list[Answer | SessionStatus]:
        return self._run(self._timmy.resume())

    def job(self, job_id: str) -> Job:
        return self._run(self._timmy.job(job_id))

    def refund(self, job_id: str, *, invoice: str | None = None, lightning_address: str | None = None, lnurl: str | None = None) -> Job:
        return self._run(self._timmy.refund(job_id, invoice=invoice, lightning_address=lightning_address, lnurl=lnurl))

    def open_session(self, amount: Sats) -> Session:
        return Session(self, self._run(self._timmy.open_session(amount)))

    def session(self, session_id: str | None = None) -> Session:
        return Session(self, self._run(self._timmy.session(session_id)))

    def spent_today(self) -> Msats:
        return self._run(self._timmy.spent_today())

    def _run(self, call: Coroutine[Any, Any, R]) -> R:
        waiting = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return waiting.result()
        except BaseException:
            waiting.cancel()  # Ctrl-C here must not leave it going on over there
            raise

    def _iterate(self, events: AsyncGenerator[Event, None]) -> Iterator[Event]:
        try:
            while True:
                event = self._run(_next(events))
                if event is None:
                    return
                yield event
        finally:
            self._run(_end(events))


class Session:
    """See AsyncSession."""

    def __init__(self, timmy: Timmy, session: AsyncSession) -> None:
        self.id = session.id
        self.macaroon = session.macaroon
        self._timmy = timmy
        self._session = session

    def __repr__(self) -> str:
        return f"Session({self.id[:8]}…)"

    def status(self) -> SessionStatus:
        return self._timmy._run(self._session.status())

    def request(self, request: str, *, key: str | None = None) -> Reply:
        return self._timmy._run(self._session.request(request, key=key))

    def receipt(self, request_id: str) -> Mapping[str, Any]:
        return self._timmy._run(self._session.receipt(request_id))

    def completion_receipt(self, completion_id: str) -> Mapping[str, Any]:
        return self._timmy._run(self._session.completion_receipt(completion_id))

    def top_up(self, amount: Sats) -> SessionStatus:
        return self._timmy._run(self._session.top_up(amount))

    def close(self, *, lightning_address: str | None = None, lnurl: str | None = None, invoice: str | None = None) -> SessionStatus:
        return self._timmy._run(self._session.close(lightning_address=lightning_address, lnurl=lnurl, invoice=invoice))

    def attenuate(
        self,
        *,
        most: Sats | None = None,
        most_per_request: Sats | None = None,
        valid_until_ms: int | None = None,
        capabilities: Sequence[str] = (),
        only: str | None = None,
    ) -> str:
        return self._session.attenuate(
            most=most, most_per_request=most_per_request, valid_until_ms=valid_until_ms, capabilities=capabilities, only=only
        )


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(events, None)


async def _end(events: AsyncGenerator[Event, None]) -> None:
    await events.aclose()
