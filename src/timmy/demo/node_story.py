"""The sale of a node, as one customer lives it: one payment, a machine that comes up, and its key once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from timmy.bootstrap.rehearsal import RehearsalCloud
from timmy.demo.buyers import Buyer
from timmy.demo.http import JSON, DemoFailed, TimmyHttp
from timmy.demo.screen import Screen
from timmy.demo.story import MSAT_PER_SAT, PATIENCE_SECONDS, Pause


@asynccontextmanager
async def cloud() -> AsyncIterator[dict[str, str]]:
    """A cloud to rent from that is not there, and the settings with which a server rents from it."""
    there = RehearsalCloud()
    url = await there.start()
    try:
        yield {
            "DO_API_URL": f"{url}/digitalocean",
            "DO_API_TOKEN": there.token,
            "TAILSCALE_API_URL": f"{url}/tailscale",
            "TAILSCALE_API_KEY": there.token,
        }
    finally:
        await there.stop()


class NodeStory:
    """One order of a node, told. What is printed is what the server answered."""

    def __init__(self, screen: Screen, server: TimmyHttp, buyer: Buyer, pause: Pause) -> None:
        self._screen = screen
        self._server = server
        self._buyer = buyer
        self._pause = pause

    async def tell(self) -> JSON:
        before = await self._buyer.balance_msat()
        self._screen.step("A customer orders a node")
        self._screen.warn("The cloud is a rehearsal: it is spoken to over HTTP as the real one is, and no machine is rented.")
        order = await self._server.order_node()
        await self._pay(order["invoice"])
        await self._watch(order["bootstrapJobId"])
        shown = await self._collect(order["bootstrapJobId"])
        self._screen.step("What to do with it")
        for line in shown["nextSteps"]:
            self._screen.say(f"- {line}", hang=2)
        after = await self._buyer.balance_msat()
        if before is not None and after is not None:
            self._screen.note(f"The customer's wallet: {before // MSAT_PER_SAT} sats before, {after // MSAT_PER_SAT} after.")
        return shown

    async def _pay(self, invoice: JSON) -> None:
        self._screen.step(f"{invoice['amountSats']} sats, one payment")
        self._screen.qr(invoice["paymentRequest"])
        await self._pause(f"Enter pays {invoice['amountSats']} sats with {self._buyer.name}")
        self._screen.good(f"{invoice['amountSats']} sats {await self._buyer.pay(invoice)}")

    async def _watch(self, order_id: str) -> None:
        """Its progress, as the stream of events tells it."""
        self._screen.step("The node, as it is made")
        told, deadline = "", time.monotonic() + PATIENCE_SECONDS
        async with aclosing(self._server.node_events(order_id)) as events:
            async for news in events:
                progress = news.data.get("progress")
                if progress and progress != told:
                    told = progress
                    self._screen.say(told)
                if news.data.get("state") in ("ready", "failed", "expired"):
                    break
                if time.monotonic() > deadline:
                    raise DemoFailed(f"after {PATIENCE_SECONDS} seconds there is no node yet: {told}")

    async def _collect(self, order_id: str) -> JSON:
        self._screen.step("Its key, once")
        first = await self._server.node(order_id)
        if first["state"] != "ready":
            raise DemoFailed(f"the order ended {first['state']}: {first['reason']}")
        if not first["sshPrivateKey"]:
            raise DemoFailed("the private key was not handed over")
        self._screen.say(first["sshPrivateKey"].splitlines()[0])
        self._screen.good("handed over to whoever asked first")
        again = await self._server.node(order_id)
        if again["sshPrivateKey"]:
            raise DemoFailed("the private key was handed over twice")
        self._screen.good(f"asked again: {again['sshKey']['note']}")
        self._screen.say(f"The machine is {first['address']}, and {first['refund']['owedSats']} sats are owed back.")
        return first
