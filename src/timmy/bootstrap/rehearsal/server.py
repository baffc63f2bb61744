"""The rehearsal cloud as a server: both APIs on one port of this machine, and the machines that it plays."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import aiohttp
import structlog
from aiohttp import web

from timmy.bootstrap.rehearsal import digitalocean, tailscale
from timmy.bootstrap.rehearsal.faults import Fault, hiding_seconds
from timmy.bootstrap.rehearsal.machines import call_home, due_calls
from timmy.bootstrap.rehearsal.shelf import Shelf, Things

TOKEN = "rehearsal"
BODY_BYTES_MAX = 1024 * 1024
TICK_SECONDS = 0.1
MINUTE_SECONDS = 60
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger("timmy.rehearsal")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take there."""

    latency_seconds: float = 0.05
    boot_seconds: float = 1.5  # until a machine is active
    install_seconds: float = 2.0  # from then on, until it calls home
    per_minute_max: int = 250  # requests; DigitalOcean's burst limit
    per_page_max: int = 200


class RehearsalCloud:
    """Runs from `start` to `stop`. `faults` may be added to at any time."""

    def __init__(
        self, shelf: Shelf | None = None, pace: Pace | None = None, *, token: str = TOKEN, now: Callable[[], float] = time.time
    ) -> None:
        self.shelf = shelf or Shelf()
        self.pace = pace or Pace()
        self.token = token
        self.now = now
        self.faults: list[Fault] = []
        self.never_boot = False  # machines that are made stay `new`
        self.never_call = False  # machines that are made say nothing
        self.asked: Counter[str] = Counter()  # how often each thing was asked for
        self.url = ""
        self._minute: tuple[int, int] = (0, 0)
        self._runner: web.AppRunner | None = None
        self._playing: asyncio.Task[None] | None = None

    async def start(self, port: int = 0) -> str:
        """Its address, with /digitalocean and /tailscale below it."""
        app = web.Application(middlewares=[self._envelope], client_max_size=BODY_BYTES_MAX)
        digitalocean.routes(app, self)
        tailscale.routes(app, self)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._playing = asyncio.create_task(self._play(), name="rehearsal machines")
        return self.url

    async def stop(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
            await asyncio.gather(self._playing, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    # what is there, for tests and for people -----------------------------------------------------------------

    def standing(self, what: str = "droplets") -> list[str]:
        """The ids of what is there and would be billed."""
        return self.shelf.change(lambda things: sorted(things[what]))

    @property
    def made(self) -> int:
        """How many machines were ever made."""
        return self.shelf.change(lambda things: int(things["made"]))

    # one request ---------------------------------------------------------------------------------------------

    @web.middleware
    async def _envelope(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        await asyncio.sleep(self.pace.latency_seconds)
        self.asked[f"{request.method} {request.path}"] += 1
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return problem(401, "Unauthorized", "Unable to authenticate you")
        if self._is_too_many():
            return problem(429, "too_many_requests", "API rate limit exceeded.", {"Retry-After": "1"})
        fault = next((fault for fault in self.faults if fault.befalls(request.method, request.path)), None)
        if fault is None:
            return await handler(request)
        return await self._befall(fault, request, handler)

    async def _befall(self, fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
        hiding_seconds.set(fault.hides_seconds)
        if fault.how in ("after", "lost", "silent"):
            done = await handler(request)
            if done.status >= 300:
                return done
        if fault.how in ("lost", "cut"):
            assert request.transport is not None
            request.transport.abort()
        if fault.how in ("silent", "mute"):
            await asyncio.sleep(MINUTE_SECONDS)
        if fault.how == "nonsense":
            return web.Response(text="<html>it is not me</html>")
        return problem(fault.status, "server_error", fault.message, fault.headers)

    def _is_too_many(self) -> bool:
        minute = int(self.now()) // MINUTE_SECONDS
        count = self._minute[1] + 1 if self._minute[0] == minute else 1
        self._minute = (minute, count)
        return count > self.pace.per_minute_max

    # the machines --------------------------------------------------------------------------------------------

    async def _play(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            while True:
                await asyncio.sleep(TICK_SECONDS)
                if self.never_call:
                    continue
                for call in self.shelf.change(lambda things: due_calls(things, self.now(), self.pace.install_seconds)):
                    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):  # the house is away: called again
                        said = await call_home(http, call)
                        log.debug("rehearsal.called_home", machine=call.droplet_id, answered=said)
                        if said < 500:
                            self.shelf.change(partial(_heard, droplet_id=call.droplet_id))


def _heard(things: Things, droplet_id: str) -> None:
    if droplet_id in things["droplets"]:
        things["droplets"][droplet_id] |= {"called": True, "is_played": True}


def problem(status: int, id: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """DigitalOcean has `id` and `message`, Tailscale `message`."""
    return web.json_response({"id": id, "message": message}, status=status, headers=headers)
