"""`timmy ask`: buy one answer. `timmy limits`: what may be spent."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from json import loads
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timmy.cli import buyer
from timmy.cli.buyer import tell
from timmy.cli.screen import as_json, fail, sats, say, table
from timmy.errors import TimmyError
from timmy.money import Msats, Sats

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.client import Answer, AsyncTimmy, store
    from timmy.client.answers import Estimate, Job
    from timmy.client.buying import Event

TWICE_SECONDS = 1.0  # a second Ctrl-C within it is for the whole command
WORDS_SHOWN = 60  # of a request
ENDINGS = {
    "rejected": "It was not accepted: {reason} Only the judging was charged.",
    "failed": "It failed: {reason} What was paid for the work is owed back.",
    "expired": "The invoice was not paid in time. Nothing more is charged; ask again.",
}
WAITING = {"evaluating": "Judging it…", "executing": "Working on it…"}


def ask(
    request: Annotated[
        str, typer.Argument(help="What you want to know or have done. - reads it from standard input.", show_default=False)
    ] = "",
    server: buyer.Server = buyer.HERE,
    wallet: buyer.Wallet = "",
    most: buyer.Most = None,
    per_day: buyer.PerDay = None,
    refund_to: Annotated[
        str,
        typer.Option(
            "--refund-to", help="A Lightning address or an LNURL for what is not used; with --claim an invoice, too.", show_default=False
        ),
    ] = "",
    price: Annotated[bool, typer.Option("--price", help="Only say what it would cost.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what was interrupted at this server.")] = False,
    claim: Annotated[str, typer.Option("--claim", help="Take back what is owed for this job, to --refund-to.", show_default=False)] = "",
    json: buyer.Json = False,
) -> None:
    """Buy one answer: its price first, then the answer as it is written, then what it cost and what came back.

    The answer goes to standard output, all else to standard error. Exit code 1: there is no answer, and the reason was said.
    """
    if claim:
        buyer.run(take(server, claim, refund_to))
        return
    if resume:
        raise typer.Exit(0 if buyer.run(go_on(server, wallet, most, per_day)) else 1)
    wanted = sys.stdin.read() if request == "-" else request
    if not wanted.strip():
        fail('Say what you want: timmy ask "What is a satoshi?"')
        raise typer.Exit(2)
    if price:
        buyer.run(show_price(server, wanted, json))
        return
    ended = buyer.run(buy(server, wallet, wanted, most, per_day, refund_to, json))
    raise typer.Exit(0 if ended.state == "complete" else 1)


def limits(
    per_call: Annotated[int | None, typer.Option("--per-call", min=0, help="Sats for one call. 0 takes the limit away.")] = None,
    per_day: Annotated[int | None, typer.Option("--per-day", min=0, help="Sats for one day (UTC). 0 takes the limit away.")] = None,
) -> None:
    """Show or set the most that any program of yours may spend, with fees. It holds for whatever uses this notebook."""
    buyer.run(set_limits(per_call, per_day))


async def show_price(server: str, request: str, json: bool) -> None:
    async with await buyer.counter(server, "") as timmy:
        made = await timmy.estimate(request)
    if json:
        as_json(dict(made.document))
        return
    say(price_of(made))


async def buy(server: str, wallet: str, request: str, most: int | None, per_day: int | None, refund_to: str, json: bool) -> Answer:
    from timmy.client import destinations

    if refund_to:
        destinations.read_for_later(refund_to)
    async with await buyer.counter(server, wallet, most, per_day) as timmy:
        made = await timmy.estimate(request)
        tell(price_of(made), "dim")
        ended = await follow(timmy.stream(request, refund_to=refund_to or None), quiet=json)
        if json:
            as_json(
                {"purchase": ended.purchase, "paidMsat": ended.paid.value, "costMsat": ended.cost.value, "job": dict(ended.job.document)}
            )
        outcome(ended)
        await offer_refund(timmy, ended.job)
    return ended


async def go_on(server: str, wallet: str, most: int | None, per_day: int | None) -> bool:
    """With each, whatever the others meet. False: one cannot be gone on with, and it was said why."""
    from timmy.client import store
    from timmy.client.errors import LimitReached

    troubles: list[tuple[str, TimmyError]] = []
    async with await buyer.counter(server, wallet, most, per_day) as timmy:
        rows = await timmy.notebook.do(store.open_purchases, timmy.http.url)
        if not rows:
            tell("Nothing was interrupted here.")
        leaving = Leaving()
        if len(rows) > 1:
            tell(f"{len(rows)} were interrupted. Ctrl-C leaves one for later and goes on with the next; pressed twice, it stops.")
        for place, row in enumerate(rows, 1):
            if len(rows) > 1:
                tell(f"{place} of {len(rows)}: {what_of(row)}", "bold")
            try:
                going = go_on_with(timmy, row)
                await (leaving.may_leave(going) if len(rows) > 1 else going)
            except TimmyError as trouble:
                troubles.append((row["subject"] or row["id"], trouble))
    for name, met in troubles:
        fail(f"{name}: {buyer.as_typed(met.message)}")
        if isinstance(met, LimitReached):
            tell(buyer.more_allowed(met), "dim")
    if leaving.left:
        tell(f"{leaving.left} left for later: timmy ask --resume goes on with what is left.", "yellow")
    return not troubles and not leaving.left


class Leaving:
    """Ctrl-C, where one thing after another is gone on with: whoever does not pay for one by hand need not wait until it lapses."""

    def __init__(self) -> None:
        self.left = 0
        self._pressed_at = -TWICE_SECONDS

    async def may_leave(self, call: Coroutine[Any, Any, None]) -> None:
        going, outer = asyncio.ensure_future(call), signal.getsignal(signal.SIGINT)

        def pressed(signum: int, frame: FrameType | None) -> None:
            now = time.monotonic()
            twice, self._pressed_at = now - self._pressed_at < TWICE_SECONDS, now
            if twice and callable(outer):
                outer(signum, frame)  # asyncio's own, which stops the whole command
            else:
                going.get_loop().call_soon_threadsafe(going.cancel)

        if callable(outer):  # not where a shell had it ignored
            signal.signal(signal.SIGINT, pressed)
        try:
            await going
        except asyncio.CancelledError:
            ours = asyncio.current_task()
            if ours is None or ours.cancelling():
                raise
            self.left += 1
            tell("\nLeft for later.", "yellow")
        finally:
            signal.signal(signal.SIGINT, outer)


def what_of(row: store.Row) -> str:
    asked = loads(row["body"])
    what = asked.get("request") or f"{row['kind']} of {asked.get('amountSats')} sats"
    return " ".join(what.split())[:WORDS_SHOWN]


async def go_on_with(timmy: AsyncTimmy, row: store.Row) -> None:
    if row["kind"] == "job":
        ended = await follow(timmy.follow(row["id"]), quiet=False)
        outcome(ended)
        await offer_refund(timmy, ended.job)
    else:
        await timmy.follow_session(row["id"])
        tell(f"The {row['kind']} of {row['subject'] or 'a new session'} is settled.", "green")


async def take(server: str, job_id: str, destination: str) -> None:
    if not destination:
        fail("Say where to: --refund-to with a Lightning address, an LNURL, or an invoice of exactly what is owed.")
        raise typer.Exit(2)
    async with await buyer.counter(server, "") as timmy:
        job = await send_refund(timmy, job_id, destination)
    tell(refund_words(job), "green" if job.refund.state == "paid" else "")


async def follow(events: AsyncIterator[Event], *, quiet: bool) -> Answer:
    """Show it as it happens. `quiet`: the answer comes later, in another form."""
    from timmy.client import Afresh, Answer, Moved, Piece

    state, wrote = "", False
    async for event in events:
        match event:
            case Moved(job=job):
                if job.state != state and job.state in WAITING:
                    tell(f"{WAITING[job.state]}{f' ({job.waiting})' if job.waiting else ''}", "dim")
                state = job.state
            case Piece(text=text) if not quiet:
                wrote = True
                buyer.answer(text)
            case Afresh() if not quiet:
                buyer.answer("\n")
                tell("The work was begun again; this is the answer:", "yellow")
            case Answer():
                if wrote:
                    buyer.answer("\n")
                return event
            case _:
                continue
    raise AssertionError("a purchase that is followed ends with its answer")


def price_of(made: Estimate) -> str:
    work = f"{made.work.value} for the work at most ({made.model})"
    if made.serve == "free":
        work = f"the work is a gift of the pool ({made.price.value} sats, {made.model})"
    elif made.serve == "partial":
        work += f", {(made.price - made.work).value} more are given by the pool"
    return f"About {made.total.value} sats: {made.eval_fee.value} to be judged, {work}. What is not used comes back."


def outcome(ended: Answer) -> None:
    job = ended.job
    if ended.state in ENDINGS:
        tell(ENDINGS[ended.state].format(reason=(job.reason or "no reason was given.")), "yellow")
    cost = job.document.get("costLedger")
    used = ""
    if isinstance(cost, dict) and job.charged is not None and job.work_invoice is not None:
        used = f"The work took {job.charged.value} of {job.work_invoice.amount.value} sats ({cost.get('totalTokens')} tokens). "
    if job.truncated:
        tell("The answer was cut where the payment was used up.", "yellow")
    tell(f"{used}Paid {sats(ended.paid.value)}{refund_part(job)}: {sats(ended.cost.value)} sats in all.", "dim")


def refund_part(job: Job) -> str:
    if job.refund.paid:
        return f", {job.refund.paid.value} came back"
    if job.refund.owed and job.refund.destination:
        return f", {job.refund.owed.value} are on their way back"
    return f", {job.refund.owed.value} are owed back" if job.refund.owed else ""


async def offer_refund(timmy: AsyncTimmy, job: Job) -> None:
    """What no purse could take, and the server does not send by itself: the person is asked, once, where it should go."""
    if not job.refund.owed or job.refund.destination or (job.document.get("refundTo") and not job.refund.trouble):
        return
    if job.refund.trouble:
        tell(f"The refund did not arrive: {job.refund.trouble}", "yellow")
    if sys.stdin.isatty() and sys.stderr.isatty():
        owed = job.refund.owed.value
        tell(f"{owed} sats are yours. Paste a Lightning address, an LNURL, or an invoice of exactly {owed} sats.")
        destination = where_to()
        if destination:
            try:
                tell(refund_words(await send_refund(timmy, job.id, destination)), "green")
                return
            except TimmyError as trouble:
                fail(buyer.as_typed(trouble.message))
    tell(f"They stay yours: timmy ask --claim {job.id} --refund-to you@wallet.example", "dim")


def where_to() -> str:
    """What was typed; nothing for Enter, Ctrl-D and Ctrl-C, which all mean "later": the answer is there, and the sats stay theirs."""
    # asyncio takes the first Ctrl-C for itself, and would act on it only when this line has come to its end: which it does not.
    outer = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return str(typer.prompt("Where to (Enter: later)", default="", show_default=False, err=True)).strip()
    except typer.Abort:
        tell("")
        return ""
    finally:
        signal.signal(signal.SIGINT, outer)


async def send_refund(timmy: AsyncTimmy, job_id: str, destination: str) -> Job:
    from timmy.client import destinations

    place = destinations.read(destination)
    return await timmy.refund(
        job_id,
        invoice=place.get(destinations.INVOICE),
        lightning_address=place.get(destinations.ADDRESS),
        lnurl=place.get(destinations.LNURL),
    )


def refund_words(job: Job) -> str:
    if job.refund.state == "paid":
        return f"{job.refund.paid.value} sats came back."
    return f"{job.refund.owed.value} sats are on their way." if job.refund.owed else "Nothing is owed for this job."


async def set_limits(per_call: int | None, per_day: int | None) -> None:
    from timmy.client import Limits, Notebook

    notebook = Notebook()
    held = await notebook.limits()
    if per_call is not None or per_day is not None:
        held = Limits(_changed(held.per_call, per_call), _changed(held.per_day, per_day))
        await notebook.set_limits(held)
    today: Msats = await notebook.spent_today()
    rows = [("one call", held.per_call, "-"), ("one day (UTC)", held.per_day, sats(today.value))]
    table(
        ("for", "limit", "counted today"),
        [(name, _words(limit), counted) for name, limit, counted in rows],
        right=("limit", "counted today"),
    )


def _changed(held: Sats | None, given: int | None) -> Sats | None:
    return held if given is None else Sats(given) if given else None


def _words(limit: Sats | None) -> str:
    return "none" if limit is None else f"{limit.value:,} sats"
