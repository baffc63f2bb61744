"""`python -m timmy.regtest`: start the practice network, show how to reach it, and keep it until Ctrl-C.

`python -m timmy.regtest lnbits` does the same with LNbits, `… install` only fills the cache (for CI images and slow connections).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine

from rich.console import Console

from timmy import regtest
from timmy.errors import TimmyError
from timmy.regtest.install import install_lightning, install_lnbits

console = Console()


def show(step: regtest.Step) -> None:
    console.print(f"[dim]{step.phase} {step.done}/{step.total}[/dim]  {step.text}")


async def keep_lightning() -> None:
    async with regtest.lightning(progress=show) as ln:
        console.print("\nA seller's and a buyer's node, with a channel between them. For Timmy:", style="bold")
        _print_settings(WALLET="electrum", ELECTRUM_URL=ln.seller_electrum_url)
        console.print("Ctrl-C stops it all.")
        await asyncio.Event().wait()


async def keep_lnbits() -> None:
    async with regtest.lnbits(progress=show) as lb:
        console.print("\nAn LNbits with a seller's and a buyer's wallet. For Timmy:", style="bold")
        _print_settings(WALLET="lnbits", LNBITS_URL=lb.url, LNBITS_API_KEY=lb.seller_key)
        console.print("Ctrl-C stops it all.")
        await asyncio.Event().wait()


async def only_install() -> None:
    await asyncio.to_thread(install_lightning, progress=show)
    await asyncio.to_thread(install_lnbits, progress=show)


def _print_settings(**settings: str) -> None:
    """One line each, whole, so that it can be copied out of any terminal."""
    for name, value in settings.items():
        console.print(f"{name}={value}", soft_wrap=True, markup=False, highlight=False)


WISHES: dict[str, Callable[[], Coroutine[None, None, None]]] = {
    "lightning": keep_lightning,
    "lnbits": keep_lnbits,
    "install": only_install,
}


def main() -> int:
    wish = sys.argv[1] if len(sys.argv) > 1 else "lightning"
    if wish not in WISHES:
        console.print(f"Say one of: {', '.join(WISHES)}.")
        return 2
    try:
        asyncio.run(WISHES[wish]())
    except KeyboardInterrupt:
        return 0
    except TimmyError as problem:
        console.print(problem.message, style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
