"""`timmy proxy`: any OpenAI client of this machine, paid from a session, under a budget."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from timmy.cli import buyer
from timmy.cli.buyer import tell
from timmy.cli.screen import fail, why_not
from timmy.clock import SystemClock
from timmy.ids import system_random
from timmy.money import Sats

PORT = 8403
PER_DAY = 500
KEY_FILE = "proxy_key"


def proxy(
    server: buyer.Server = buyer.HERE,
    session: Annotated[str, typer.Option("--session", help="Which one pays. Without it: the one opened last.", show_default=False)] = "",
    per_day: Annotated[int, typer.Option("--per-day", min=0, help="The budget of a day (UTC), in sats. 0: none, with --in-all.")] = PER_DAY,
    in_all: Annotated[int | None, typer.Option("--in-all", min=1, help="A budget for as long as the session lives, in sats.")] = None,
    per_request: Annotated[int | None, typer.Option("--per-request", min=1, help="The most sats that one request may reserve.")] = None,
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65_535, help="On 127.0.0.1; 0 takes any that is free.")] = PORT,
) -> None:
    """Serve OpenAI's interface on this machine, paid from a session and under a budget, until Ctrl-C.

    The budget is held by the server, not by this program: started again, it goes on with what the day has left.
    """
    if not per_day and in_all is None:
        fail("A proxy has a budget: give --per-day, --in-all, or both.")
        raise typer.Exit(2)
    try:
        asyncio.run(_serve(server, session, per_day, in_all, per_request, port))
    except KeyboardInterrupt:
        tell("\nThe proxy is closed. What is left is still in the session.")


async def _serve(server: str, session: str, per_day: int, in_all: int | None, per_request: int | None, port: int) -> None:
    # Here, for --help must not wait for a web server.
    from timmy.client import Notebook, receipts
    from timmy.client.http import TimmyHttp
    from timmy.client.notebook import home
    from timmy.client.proxy import HOST, Budget, Proxy
    from timmy.identity import kept_secret

    async with await buyer.counter(server, "") as timmy:
        status = await (await timmy.session(session or None)).status()  # its newest key: root keys may have been rotated
    budget = Budget(
        status.macaroon or "",
        SystemClock(),
        per_day=Sats(per_day) if per_day else None,
        in_all=Sats(in_all) if in_all else None,
        per_request=Sats(per_request) if per_request else None,
    )
    local_key = f"sk-timmy-{kept_secret(home() / KEY_FILE, system_random).hex()}"
    http, notebook = TimmyHttp(buyer.address(server)), Notebook()

    async def keep(completion_id: str, key: str) -> None:
        await receipts.keep(http, notebook, receipts.completion_path(completion_id), completion_id, key)  # or it can be had for a day

    running = Proxy(http.url, budget, local_key, tell, keep)
    try:
        async with running.open(port) as at:
            words = " and ".join([*([f"{per_day} sats a day"] if per_day else []), *([f"{in_all} sats in all"] if in_all else [])])
            tell(f"At most {words}, from a session with {status.balance.floor_sats().value} sats. Ctrl-C closes it.", "dim")
            buyer.rows([("OPENAI_BASE_URL", f"http://{HOST}:{at}/v1"), ("OPENAI_API_KEY", local_key)])
            await asyncio.Event().wait()
    except OSError as trouble:
        fail(f"{HOST}:{port} cannot be had ({why_not(trouble)}). Choose another with --port.")
        raise typer.Exit(2) from None
    finally:
        await http.aclose()
