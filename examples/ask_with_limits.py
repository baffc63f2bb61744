"""Ask a Timmy with the client, under limits, and show the answer as it is written.

    python3 examples/ask_with_limits.py http://127.0.0.1:8402 "What is a satoshi?" dev

The last word is what pays: `dev` on a server in development, or `lnbits+https://:KEY@host`, better in TIMMY_WALLET. Stopped in the
middle, the next run goes on with what was begun, and pays nothing twice.
"""

# ruff: noqa: T201 - a program for people prints

from __future__ import annotations

import asyncio
import os
import sys

from timmy.client import Afresh, Answer, AsyncTimmy, Limits, Piece
from timmy.errors import TimmyError
from timmy.money import Sats

LIMITS = Limits(per_call=Sats(200), per_day=Sats(2_000))


async def main(url: str, question: str, wallet: str) -> None:
    async with AsyncTimmy(url, purse=wallet, limits=LIMITS) as timmy:
        for ended in await timmy.resume():
            print(f"(from last time: {ended.state})")
        estimate = await timmy.estimate(question)
        print(f"about {estimate.total.value} sats, of which what is not used comes back")
        async for event in timmy.stream(question):
            match event:
                case Piece(text=text):
                    print(text, end="", flush=True)
                case Afresh():
                    print("\n(begun again)")
                case Answer():
                    print(f"\n{event.state}: {event.paid.value} msat paid, {event.job.refund.paid.value} sats came back")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) == 4 else os.environ.get("TIMMY_WALLET", "")))
    except TimmyError as trouble:
        raise SystemExit(f"{trouble.title}: {trouble.message}") from None
    except ValueError as trouble:  # what was typed makes no sense
        raise SystemExit(str(trouble)) from None
