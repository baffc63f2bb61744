"""What the commands of a buyer share: which server, which wallet, and how an invoice is shown to a person.

The answer goes to standard output and all else to standard error, so that an answer can be sent to a file.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.text import Text

from timmy.cli.screen import errors, fail, out
from timmy.errors import plain
from timmy.lightning.wallets.protocol import InFlight, Network, NeverSent, PaymentOutcome
from timmy.money import Msats, Sats

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.client import AsyncTimmy
    from timmy.client.errors import LimitReached

R = TypeVar("R")

HERE = "http://127.0.0.1:8402"
STOPPED = 130  # what a shell says of a program that was interrupted

Server = Annotated[str, typer.Option("--server", "-s", envvar="TIMMY_SERVER", help="The Timmy to buy from.")]
Wallet = Annotated[
    str,
    typer.Option(
        "--wallet",
        "-w",
        envvar="TIMMY_WALLET",
        # Nothing here is longer than its column is in 80 characters: what is cut cannot be typed.
        help="What pays: nostr+walletconnect://…, lnbits+https://:KEY@host, electrum+http://…, lnd+https://…, or dev (a server that is"
        " tried out). Without one you pay by hand; any other word shows how each is written."
        " Better in TIMMY_WALLET than here, where others of this machine can read it.",
        show_default=False,
    ),
]
Most = Annotated[int | None, typer.Option("--most", "-m", min=1, help="The most sats that this call may cost, with fees.")]
PerDay = Annotated[int | None, typer.Option("--per-day", min=1, help="The most sats that may be spent in a day.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


class HandPurse:
    """No wallet: a person with a phone. The invoice is shown, and the server will tell when it was paid."""

    network: Network | None = None
    adds_fees = False  # the phone's wallet pays its routing itself

    def __init__(self, name: str) -> None:
        self.name = name

    async def pay(self, payment_request: str, *, amount: Msats, fee_limit: Msats) -> PaymentOutcome:
        show_invoice(payment_request, amount.ceil_sats())
        return InFlight()

    async def lookup(self, payment_hash: str) -> PaymentOutcome:
        return NeverSent()  # shown again, it is the same invoice, which a wallet pays once

    async def invoice(self, amount: Sats, memo: str) -> str | None:
        return None

    async def aclose(self) -> None:
        return None


def show_invoice(payment_request: str, amount: Sats) -> None:
    """As a picture for a phone's camera, where there is a screen to draw on, and as text for all else."""
    import segno

    from timmy.demo.screen import QUIET_ZONE, half_blocks
    from timmy.lightning import bolt11

    tell(f"Pay {amount.value} sats with your wallet:", "bold")
    if errors.is_terminal and not errors.options.ascii_only:
        code = segno.make_qr(f"LIGHTNING:{payment_request.upper()}", error="l", boost_error=False)
        lines = half_blocks([[bool(module) for module in row] for row in code.matrix_iter(border=QUIET_ZONE)])
        if len(lines[0]) <= errors.width:  # cut at the edge it could not be read; then the text must do
            for line in lines:
                errors.print(Text(line, style="white on black"), no_wrap=True, highlight=False)
    # Written as it is, in one line however long: who copies a wrapped invoice gets blanks in it.
    errors.file.write(f"{bolt11.normalise(payment_request)}\n")
    errors.file.flush()


def tell(text: str, style: str = "") -> None:
    """To the person, beside the answer."""
    errors.print(Text(plain(text), style=style), soft_wrap=True, highlight=False)


def rows(pairs: Iterable[tuple[str, str]]) -> None:
    """A few facts under one another."""
    pairs = list(pairs)
    width = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        out.out(f"{name:<{width}}  {plain(value)}", highlight=False)


def answer(text: str) -> None:
    """A piece of the answer. A model's words may hold what a terminal would obey; a file gets them as they are."""
    sys.stdout.write(plain(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


async def counter(server: str, wallet: str, most: int | None = None, per_day: int | None = None) -> AsyncTimmy:
    """The client, with the notebook of this person, and logged in where they have."""
    from timmy.client import AsyncTimmy, Limits, Notebook, Purse, store
    from timmy.client.purses import BY_HAND, open_purse

    notebook = Notebook()
    url = address(server)
    token = await notebook.do(store.login, url, notebook.now_ms())
    purse: Purse = await open_purse(wallet, url) if wallet else HandPurse(BY_HAND)
    if isinstance(purse, HandPurse):
        # Whoever pays by hand sees each price first; only what they have limited themselves is limited.
        limits = Limits(_sats(most), _sats(per_day))
    else:
        default = Limits()
        limits = Limits(_sats(most) or default.per_call, _sats(per_day) or default.per_day)
    return AsyncTimmy(url, purse=purse, limits=limits, notebook=notebook, token=token)


def address(server: str) -> str:
    from timmy.client.http import TimmyHttp

    url = server.rstrip("/")
    try:
        TimmyHttp(url)
    except ValueError as trouble:
        shown = plain(server.rpartition("@")[2])  # a password may stand before the @
        fail(f"{shown} is not the address of a Timmy. {trouble}. Name one with --server or TIMMY_SERVER.")
        raise typer.Exit(2) from None
    return url


def as_typed(message: str) -> str:
    """What the client says to programs, for whoever sits at a terminal."""
    return message.replace("resume()", "timmy ask --resume")


def more_allowed(reached: LimitReached) -> str:
    """What allows more, of the limit that said no and of no other."""
    of_call = reached.extra.get("limit") == "per_call"
    if reached.extra.get("of") == "notebook":
        option = "--per-call" if of_call else "--per-day"
        return f"timmy limits {option} SATS allows more: that limit is kept in your notebook, and holds for every program."
    return f"{'--most' if of_call else '--per-day'} allows more here, within what timmy limits holds for every program."


def run(call: Coroutine[Any, Any, R]) -> R:
    """To its end, or until somebody presses Ctrl-C; what was begun can be gone on with."""
    from timmy.client.errors import LimitReached, Unfinished

    try:
        return asyncio.run(call)
    except KeyboardInterrupt:
        tell("\nStopped. What was begun is kept: timmy ask --resume goes on with it, and pays nothing twice.", "yellow")
        raise typer.Exit(STOPPED) from None
    except LimitReached as trouble:
        fail(f"{trouble.title}: {trouble.message}")
        tell(more_allowed(trouble), "dim")
        raise typer.Exit(2) from None
    except Unfinished as trouble:
        tell(f"{as_typed(trouble.message)}\ntimmy ask --resume goes on with it.", "yellow")
        raise typer.Exit(1) from None
    except BrokenPipeError:
        # Whoever reads the answer has had enough of it. Without this the interpreter complains once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None


def _sats(amount: int | None) -> Sats | None:
    return None if amount is None else Sats(amount)
