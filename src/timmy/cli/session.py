"""`timmy session`: pay ahead, spend per request, hand out smaller keys, take the rest back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from timmy.cli import buyer
from timmy.cli.buyer import tell
from timmy.cli.screen import as_json, fail, sats, table
from timmy.clock import SECOND_MS
from timmy.errors import plain
from timmy.money import Msats, Sats

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.client.answers import SessionStatus

PERIOD = re.compile(r"([1-9][0-9]{0,5})([smhd])")
CAPABILITIES = ("session", "chat")  # what a session's own key may be used for
PERIOD_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

Id = Annotated[str, typer.Argument(help="Which session. Without it: the one opened last.", show_default=False)]
app = typer.Typer(help="Sessions: pay ahead, and spend per request with a key that can be made smaller.", no_args_is_help=True)


@app.command("open")
def open_session(
    amount: Annotated[int, typer.Argument(min=1, help="The deposit, in sats.")],
    server: buyer.Server = buyer.HERE,
    wallet: buyer.Wallet = "",
    most: buyer.Most = None,
    per_day: buyer.PerDay = None,
) -> None:
    """Open a session and pay its deposit. It is kept in your notebook; its key stays there until you ask for it."""

    async def call() -> SessionStatus:
        async with await buyer.counter(server, wallet, most, per_day) as timmy:
            return await (await timmy.open_session(Sats(amount))).status()

    show(buyer.run(call()))
    tell("Spend from it with timmy session ask; timmy session status --key prints the key for other programs.", "dim")


@app.command()
def ask(
    request: Annotated[str, typer.Argument(help="What you want to know or have done.")],
    id: Annotated[str, typer.Option("--session", help="Which session. Without it: the one opened last.", show_default=False)] = "",
    server: buyer.Server = buyer.HERE,
    json: buyer.Json = False,
) -> None:
    """Have a request done from a session's balance."""

    async def call() -> bool:
        async with await buyer.counter(server, "") as timmy:
            reply = await (await timmy.session(id or None)).request(request)
        if json:
            as_json(dict(reply.document))
        elif reply.result is not None:
            buyer.answer(f"{reply.result}\n")
        if reply.state != "complete":
            tell(f"It {'was not accepted' if reply.state == 'rejected' else 'failed'}: {reply.reason or 'no reason was given.'}", "yellow")
        gift = f", {sats(reply.absorbed.value)} more were given by the pool" if reply.absorbed else ""
        tell(f"Took {sats(reply.debited.value)} sats{gift}; {sats(reply.balance.value)} are left.", "dim")
        return reply.state == "complete"

    raise typer.Exit(0 if buyer.run(call()) else 1)


@app.command()
def status(
    id: Id = "",
    server: buyer.Server = buyer.HERE,
    key: Annotated[bool, typer.Option("--key", help="Print its macaroon and nothing else: it spends all that is in the session.")] = False,
    json: buyer.Json = False,
) -> None:
    """Show what is in a session, and until when."""

    async def call() -> SessionStatus:
        async with await buyer.counter(server, "") as timmy:
            return await (await timmy.session(id or None)).status()

    seen = buyer.run(call())
    if key:
        typer.echo(seen.macaroon or "")
    elif json:
        as_json(dict(seen.document))
    else:
        show(seen)


@app.command()
def topup(
    amount: Annotated[int, typer.Argument(min=1, help="How many sats to add.")],
    id: Id = "",
    server: buyer.Server = buyer.HERE,
    wallet: buyer.Wallet = "",
    most: buyer.Most = None,
    per_day: buyer.PerDay = None,
) -> None:
    """Put more into a session."""

    async def call() -> SessionStatus:
        async with await buyer.counter(server, wallet, most, per_day) as timmy:
            return await (await timmy.session(id or None)).top_up(Sats(amount))

    show(buyer.run(call()))


@app.command()
def close(
    id: Id = "",
    server: buyer.Server = buyer.HERE,
    wallet: buyer.Wallet = "",
    to: Annotated[
        str,
        typer.Option("--to", help="A Lightning address, an LNURL or an invoice for the rest. Without it: your wallet.", show_default=False),
    ] = "",
) -> None:
    """End a session and take the rest back."""
    from timmy.client import destinations
    from timmy.client.errors import NoWallet

    place = destinations.read(to) if to else {}

    async def call() -> SessionStatus:
        async with await buyer.counter(server, "" if to else wallet) as timmy:
            return await (await timmy.session(id or None)).close(
                invoice=place.get(destinations.INVOICE),
                lightning_address=place.get(destinations.ADDRESS),
                lnurl=place.get(destinations.LNURL),
            )

    try:
        seen = buyer.run(call())
    except NoWallet as trouble:
        fail(f"{trouble.title}: {trouble.message}")
        tell("--to takes a Lightning address or an LNURL; --wallet or TIMMY_WALLET names a wallet.", "dim")
        raise typer.Exit(2) from None
    if seen.refund.trouble:
        fail(
            f"{seen.refund.owed.value} sats of {plain(seen.id)} did not arrive: {plain(seen.refund.trouble)} Close it again, with another"
            f" place: timmy session close {plain(seen.id)} --to you@wallet.example"
        )
        raise typer.Exit(1)
    words = f"{seen.refund.paid.value} sats came back" if not seen.refund.owed else f"{seen.refund.owed.value} sats are on their way"
    tell(f"Closed {seen.id}: {words if seen.refund.paid or seen.refund.owed else 'nothing was left in it'}.", "green")


@app.command()
def attenuate(
    id: Id = "",
    server: buyer.Server = buyer.HERE,
    most: Annotated[int | None, typer.Option("--most", "-m", min=1, help="Sats that may be spent with it, ever.")] = None,
    per_request: Annotated[int | None, typer.Option("--per-request", min=1, help="Sats that one request may reserve.")] = None,
    period: Annotated[str, typer.Option("--for", help="How long it is valid: 30m, 24h, 7d.", show_default=False)] = "",
    only: Annotated[str, typer.Option("--only", help="The path that it is for, such as /v1/chat/completions.", show_default=False)] = "",
    capability: Annotated[list[str] | None, typer.Option("--can", help="What it may be used for: session, chat.")] = None,
) -> None:
    """Print a smaller key of a session, for a program or a person that is trusted with less. Nothing is sent anywhere."""
    unknown = sorted(set(capability or ()) - set(CAPABILITIES))
    if unknown:
        fail(f"{', '.join(unknown)}: a key may be for {' or '.join(CAPABILITIES)}, and for nothing else.")
        raise typer.Exit(2)
    if only and not only.startswith("/"):
        fail(f"{only} is no path. Write one such as /v1/chat/completions.")
        raise typer.Exit(2)
    given = PERIOD.fullmatch(period)
    if period and given is None:
        fail(f"{period} is no period. Write 30m, 24h or 7d.")
        raise typer.Exit(2)

    async def call() -> str:
        async with await buyer.counter(server, "") as timmy:
            session = await timmy.session(id or None)
            seconds = int(given[1]) * PERIOD_SECONDS[given[2]] if given else None
            return session.attenuate(
                most=None if most is None else Sats(most),
                most_per_request=None if per_request is None else Sats(per_request),
                valid_until_ms=None if seconds is None else timmy.notebook.now_ms() + seconds * SECOND_MS,
                capabilities=capability or (),
                only=only or None,
            )

    try:
        typer.echo(buyer.run(call()))
    except ValueError as trouble:
        fail(str(trouble))
        raise typer.Exit(2) from None


@app.command("list")
def list_sessions(
    everywhere: Annotated[bool, typer.Option("--all", help="Of all servers.")] = False, server: buyer.Server = buyer.HERE
) -> None:
    """Show the sessions of your notebook, as their servers see them now."""
    buyer.run(_list(None if everywhere else buyer.address(server)))


async def _list(url: str | None) -> None:
    from timmy.client import Notebook, store
    from timmy.client.errors import AnswerInvalid, ServerDown, ServerRefused

    rows = []
    for row in await Notebook().do(store.sessions, url):
        try:
            async with await buyer.counter(row["url"], "") as timmy:
                seen = await (await timmy.session(row["id"])).status()
            rows.append((row["id"], state_of(seen), sats(seen.balance.value), moment(seen.expires_at_ms), row["url"]))
        except (AnswerInvalid, ServerDown, ServerRefused) as trouble:
            rows.append((row["id"], trouble.title.lower(), "?", "-", row["url"]))
    if not rows:
        tell("There is none yet: timmy session open 500")
        return
    table(("session", "state", "sats", "until", "server"), rows, right=("sats",))


def show(seen: SessionStatus) -> None:
    held: Msats = seen.held
    facts = [
        ("session", seen.id),
        ("state", state_of(seen)),
        ("balance", f"{sats(seen.balance.value)} sats" + (f", {sats(held.value)} of them held by running requests" if held else "")),
        ("until", moment(seen.expires_at_ms)),
    ]
    if seen.refund.owed or seen.refund.paid:
        facts.append(("refund", f"{seen.refund.paid.value} sats paid, {seen.refund.owed.value} owed"))
    buyer.rows(facts)


def state_of(seen: SessionStatus) -> str:
    return "closed" if seen.document.get("closedAt") else seen.state


def moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // SECOND_MS, UTC).strftime("%Y-%m-%d %H:%M UTC")
