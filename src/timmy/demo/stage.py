"""Sets the stage: the wallet to pay with, the server to buy from, and after the sale a look into the books."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import aiohttp
from rich.console import Console

from timmy import regtest
from timmy.demo import REQUEST, server
from timmy.demo.buyers import Buyer, RealBuyer, StandInBuyer
from timmy.demo.http import DemoFailed, TimmyHttp
from timmy.demo.node_story import NodeStory, cloud
from timmy.demo.screen import Screen, short
from timmy.demo.story import Story
from timmy.regtest.processes import free_ports

PAUSE_SECONDS = 1.2


class Scene(StrEnum):
    STAND_IN = "builtin"
    LNBITS = "lnbits"
    LIGHTNING = "lightning"


@dataclass(frozen=True, slots=True)
class Wallets:
    """What the server is told about its wallet, and who buys; None: the customer that the built-in wallet brings along."""

    settings: Mapping[str, str]
    buyer: Buyer | None


@dataclass(slots=True)
class Pace:
    """How fast the story is told. A pause is time to read; with `step` it is a question."""

    seconds: float
    step: bool
    screen: Screen

    async def pause(self, question: str) -> None:
        if self.step and question:
            await asyncio.to_thread(self.screen.console.input, f"   {question} ")
        elif self.seconds:
            await asyncio.sleep(self.seconds)


async def run_demo(
    console: Console, scene: Scene, request: str = REQUEST, *, fast: bool = False, step: bool = False, node: bool = False
) -> bool:
    """The whole story, of an answer or of a `node`; True when the books close at its end. DemoFailed and the errors of `regtest` say why it
    ended early."""
    screen = Screen(console)
    at_a_terminal = console.is_terminal and sys.stdin.isatty()
    pace = Pace(PAUSE_SECONDS if at_a_terminal and not fast else 0.0, step and at_a_terminal, screen)
    with tempfile.TemporaryDirectory(prefix="timmy-demo-") as name:
        async with wallets(scene, screen) as purse, shop(node) as offers:
            async with server.start_server(Path(name), {**purse.settings, **offers}) as running, aiohttp.ClientSession() as session:
                api = TimmyHttp(running.url, session, screen.call)
                await opening(screen, api, "Timmy sells a Bitcoin node" if node else "Timmy sells an answer")
                buyer = purse.buyer or StandInBuyer(api)
                if node:
                    await NodeStory(screen, api, buyer, pace.pause).tell()
                else:
                    await Story(screen, api, buyer, pace.pause).tell(request)
                return await closing(screen, running, scene)


@asynccontextmanager
async def wallets(scene: Scene, screen: Screen) -> AsyncIterator[Wallets]:
    match scene:
        case Scene.STAND_IN:
            yield Wallets({}, None)
        case Scene.LNBITS:
            screen.title("LNbits", "A real LNbits is started on this machine; the first time it has to be downloaded.")
            with screen.progress() as show:
                async with regtest.lnbits(progress=show) as lnbits:
                    settings = {"WALLET": "lnbits", "LNBITS_URL": lnbits.url, "LNBITS_API_KEY": lnbits.seller_key}
                    yield Wallets(settings, RealBuyer(lnbits.buyer, "the customer's LNbits wallet"))
        case Scene.LIGHTNING:
            screen.title(
                "A Lightning network", "Two nodes, a chain and a channel, on this machine; the first time they have to be downloaded."
            )
            with screen.progress() as show:
                async with regtest.lightning(progress=show) as network:
                    settings = {"WALLET": "electrum", "ELECTRUM_URL": network.seller_electrum_url}
                    yield Wallets(settings, RealBuyer(network.buyer, "the customer's own Lightning node"))


@asynccontextmanager
async def shop(node: bool) -> AsyncIterator[Mapping[str, str]]:
    """What a server is told that is to sell a node: where machines are rented, and where they call home, so its port is known before."""
    if not node:
        yield {}
        return
    (port,) = free_ports(1)
    async with cloud() as settings:
        yield {**settings, "PORT": str(port), "PUBLIC_URL": f"http://127.0.0.1:{port}"}


async def opening(screen: Screen, api: TimmyHttp, what: str) -> None:
    screen.title(
        what,
        f"A server of its own, with an empty ledger, is open at {api.url} until this ends.",
    )
    for stand_in in (await api.health())["standIns"]:
        screen.warn(stand_in)


async def closing(screen: Screen, running: server.Server, scene: Scene) -> bool:
    screen.step("The books")
    screen.note("$ timmy ledger verify")
    screen.note("Another process recomputes every account from the transfers alone:")
    code, output = await server.verify(running)
    try:
        books = json.loads(output)
    except ValueError:
        raise DemoFailed(f"the ledger could not be read:\n{output}") from None
    lines = [line for line in books["accounts"] if line["balanceMsat"]]
    screen.table([(short(line["account"]), f"{line['balanceMsat']:,} msat", line["meaning"]) for line in lines])
    for check in books["checks"]:
        (screen.good if check["holds"] else screen.bad)(check["name"])
    screen.say("The books close." if code == 0 else "THE BOOKS DO NOT CLOSE.", "bold green" if code == 0 else "bold red")
    screen.title("What next")
    if scene is Scene.STAND_IN:
        screen.say("./run demo --lightning         the same sale over a real Lightning channel")
    screen.say("./run demo --node              one payment, one node, at a rehearsal cloud")
    screen.say('./run demo --request "…"       with a question of your own')
    screen.say("./run demo --step              at your pace: you press Enter to pay")
    screen.say("./run serve                    a server to keep; docs/how-to/run-a-server.md")
    screen.console.print()
    return code == 0
