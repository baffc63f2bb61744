"""A buyer as a process of its own: `python -m tests.e2e.spender URL NOTEBOOK WALLET deposit|ask|die`. The wallet is a file of what it has
paid.

`deposit` opens a session of 100 sats where a day allows three of them: exit code 0, or 3 where the limit said no. `ask` buys an answer
where a day allows two, with the same exit codes. `die` asks a question, and is killed at once when the first payment has left.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.e2e.counting_purse import CountingPurse
from timmy.client import AsyncTimmy, Limits, Notebook
from timmy.client.errors import LimitReached
from timmy.lightning.wallets.protocol import PaymentOutcome
from timmy.money import Msats, Sats

QUESTION = "What is a satoshi?"
LIMITS = Limits(per_call=None, per_day=Sats(345))
TWO_ANSWERS = Limits(per_call=None, per_day=Sats(60))
REFUSED = 3


class FilePurse(CountingPurse):
    """Remembers across processes, as a wallet somewhere else does."""

    def __init__(self, url: str, file: Path) -> None:
        super().__init__(url)
        self._file = file
        self.paid = file.read_text().split() if file.exists() else []

    async def pay(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        outcome = await super().pay(payment_request, amount=amount, fee_limit=fee_limit)
        self.noted()
        return outcome

    def noted(self) -> None:
        with self._file.open("a") as file:
            file.write(f"{self.paid[-1]}\n")


async def main(url: str, notebook: Path, wallet: Path, what: str) -> int:
    purse = FilePurse(url, wallet)

    async def die() -> None:
        purse.noted()
        os.kill(os.getpid(), signal.SIGKILL)

    limits = TWO_ANSWERS if what == "ask" else LIMITS
    async with AsyncTimmy(url, purse=purse, notebook=Notebook(notebook), limits=limits) as timmy:
        if what == "die":
            purse.after = die
            await timmy.ask(QUESTION)
            return 1
        try:
            await (timmy.ask(QUESTION) if what == "ask" else timmy.open_session(Sats(100)))
        except LimitReached:
            return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])))
