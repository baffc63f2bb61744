"""What `timmy node-status` sees of the node behind the wallet, and how it is shown."""

from __future__ import annotations

import asyncio

from timmy.app import choose
from timmy.app.node_status import Absent, NodeWatch, wants_of, without_secrets
from timmy.cli.books import open_books
from timmy.cli.screen import as_json, out, say, table
from timmy.clock import Clock, SystemClock, iso
from timmy.db import Database
from timmy.ids import system_random
from timmy.lightning.diagnosis import Row, Word, worst
from timmy.lightning.wallets.protocol import Wallet, WalletDown
from timmy.settings import Settings
from timmy.web.operator.node import IN_ALL, document
from timmy.web.operator.protocol import NodeStatus

OPEN_WITHIN_SECONDS = 20.0
EXIT = {Word.OK: 0, Word.WARN: 1, Word.FAIL: 2}
STYLES = {Word.OK: "bold", Word.WARN: "bold yellow", Word.FAIL: "bold red"}


def tell(settings: Settings, *, json: bool) -> int:
    """The exit code."""
    shown = asyncio.run(look(settings))
    word = worst(shown.rows)
    if json:
        as_json(document(shown))
    else:
        show(shown, word)
    return EXIT[word]


async def look(settings: Settings) -> NodeStatus:
    """NoBooks where no server has ever run."""
    clock = SystemClock()
    async with open_books(settings) as db:
        wallet = await _open(settings, db, clock)
        try:
            return await NodeWatch(db, clock, wallet, wants_of(settings), hide=without_secrets(settings)).look()
        finally:
            if not isinstance(wallet, Absent):
                await wallet.aclose()


async def _open(settings: Settings, db: Database, clock: Clock) -> Wallet | Absent:
    """A wallet that does not answer is what this command is there to tell of."""
    try:
        async with asyncio.timeout(OPEN_WITHIN_SECONDS):
            return await choose.wallet(settings, db, clock, system_random, None)
    except WalletDown as down:
        return Absent(settings.wallet, down.message)
    except TimeoutError:
        return Absent(settings.wallet, f"the wallet did not answer within {OPEN_WITHIN_SECONDS:g} s")


def show(shown: NodeStatus, word: Word) -> None:
    table(("check", "how", "what", "ms"), [_line(row) for row in shown.rows], right=("ms",))
    hints = [row for row in shown.rows if row.hint and row.word in (Word.WARN, Word.FAIL)]
    if hints:
        out.print()
    for row in hints:
        say(f"{row.name}: {row.hint}")
    say(f"\n{IN_ALL[word]} Looked at {iso(shown.at_ms)}.", STYLES[word])


def _line(row: Row) -> tuple[str, str, str, str]:
    return (row.name, row.word.value, row.value, "" if row.latency_ms is None else str(row.latency_ms))
