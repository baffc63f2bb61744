"""`timmy receipt`: what you bought, signed by whoever sold it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timmy.cli import buyer
from timmy.cli.screen import as_json, fail, sats, table, why_not
from timmy.clock import SECOND_MS

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.client import receipts

LIST_MAX = 50

app = typer.Typer(help="Receipts: which you have, one as a file, and whether one holds.", no_args_is_help=True)


@app.command("list")
def list_receipts() -> None:
    """Show what you bought last, and of what there is a receipt."""
    buyer.run(_list())


@app.command()
def show(job: Annotated[str, typer.Argument(help="The job, or the purchase, as timmy receipt list names it.")]) -> None:
    """Print a receipt with its preimages, to be kept in a file or shown to others. They prove that it was you who paid."""
    from timmy.client import Notebook, receipts

    async def call() -> dict[str, Any]:
        return await receipts.file_of(Notebook(), job)

    as_json(buyer.run(call()))


@app.command()
def verify(
    file: Annotated[str, typer.Argument(help="The receipt's file; - reads it from standard input.")],
    server: Annotated[
        str, typer.Option("--server", "-s", envvar="TIMMY_SERVER", help="Ask this Timmy whether the key is its own.", show_default=False)
    ] = "",
    prompt: Annotated[str, typer.Option("--prompt", help="The request that it should be about.", show_default=False)] = "",
    body: Annotated[
        Path | None, typer.Option("--body", help="A file with the request's body, for a call of /v1.", show_default=False)
    ] = None,
    answer: Annotated[
        Path | None, typer.Option("--answer", help="A file with the answer that it should be about.", show_default=False)
    ] = None,
) -> None:
    """Check a receipt: its signature, its bill, the proofs of payment in it, and what it is compared with. Exit code 1: it does not hold.

    The bill is computed again from the receipt's own tokens, rates, margin and bitcoin price; what does not add up is named.

    Without --server only the signature is checked, and nothing is sent anywhere: the key may be anybody's.
    """
    from timmy.client import receipts

    try:
        raw = sys.stdin.read() if file == "-" else Path(file).read_text()
        words = answer.read_text() if answer is not None else None
        sent = body.read_bytes() if body is not None else None
    except OSError as trouble:
        fail(f"{trouble.filename or file} cannot be read ({why_not(trouble)}).")
        raise typer.Exit(2) from None
    except UnicodeDecodeError:
        fail("That is no text, so it is neither a receipt nor an answer. Was the whole file copied?")
        raise typer.Exit(2) from None
    try:
        receipt = receipts.read(raw)
        receipts.check_bill(receipt)
        if sent is not None:
            receipts.check_bytes(receipt, "promptSha256", sent)
        if prompt:
            receipts.check_text(receipt, "promptSha256", prompt)
        if words is not None:
            # timmy ask ends an answer with a line end of its own, so a file that it was sent to has one more.
            one_less = words.removesuffix("\n")
            _check_either(receipt, words, one_less)
        if server:
            buyer.run(receipts.check_server(receipt, buyer.address(server)))
    except receipts.ReceiptInvalid as trouble:
        fail(f"It does not hold. {trouble.message}")
        raise typer.Exit(1) from None
    buyer.rows(facts(receipt, named_by=server))


def _check_either(receipt: receipts.Receipt, words: str, one_less: str) -> None:
    from timmy.client import receipts

    try:
        receipts.check_text(receipt, "answerSha256", words)
    except receipts.ReceiptInvalid:
        receipts.check_text(receipt, "answerSha256", one_less)


def facts(receipt: receipts.Receipt, *, named_by: str) -> list[tuple[str, str]]:
    from timmy.identity.nostr import npub

    told = receipt.told
    paid = [f"{each.get('amountSats')} sats ({each.get('purpose')})" for each in told["payments"]]
    whose = f"the key that {named_by} names as its own" if named_by else "whose key this is was not asked: --server"
    rows = [
        ("signature", "holds"),
        ("signed by", f"{npub(receipt.pubkey)} ({whose})"),
        ("server", receipt.server),
        ("signed", datetime.fromtimestamp(receipt.signed_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")),
        ("ended", f"{told.get('state')}, {told.get('endedAt')}"),
        ("paid", ", ".join(paid) or "from a session's balance"),
        ("proven", f"{len(receipt.proven)} of {len(receipt.proven) + len(receipt.unproven)} payments, by their preimages"),
        ("bill", _bill(receipt)),
        ("charged", f"{_sats(told.get('chargedMsat'))} sats, and {_sats(told.get('poolMsat'))} by the pool"),
    ]
    for each in told.get("prices") or []:
        rows.append((str(each.get("purpose")), _price(each, (told.get("tokens") or {}).get(each.get("purpose")) or {})))
    refund = told.get("refund")
    if isinstance(refund, dict):
        rows.append(("refund", f"{refund.get('paidSats')} sats paid, {refund.get('owedSats')} owed"))
    return [row for row in rows if row[0] != "proven" or told["payments"]]


def _bill(receipt: receipts.Receipt) -> str:
    computed = ", ".join(line.name for line in receipt.bill.lines)
    untold = f"; not enough is told to compute {' and '.join(receipt.bill.untold)}" if receipt.bill.untold else ""
    return f"adds up ({computed}){untold}"


def _price(each: dict[str, Any], tokens: dict[str, Any]) -> str:
    rates = each.get("usdPerMillionTokens") or {}
    counted = " (estimated)" if tokens.get("estimated") else ""
    return (
        f"{each.get('model')}: {tokens.get('input')} tokens in, {tokens.get('output')} out{counted}, at ${rates.get('input')} and"
        f" ${rates.get('output')} per million, margin {each.get('marginPct')} %, bitcoin at ${each.get('btcPriceUsd')}"
        f" ({each.get('btcPriceSource')})"
    )


def _sats(amount_msat: object) -> str:
    return sats(amount_msat) if type(amount_msat) is int else "?"


async def _list() -> None:
    from timmy.client import Notebook, store

    found = []
    for row in await Notebook().do(store.purchases, LIST_MAX):
        asked = json.loads(row["body"])
        what = asked.get("request") or f"{row['kind']} of {asked.get('amountSats')} sats"
        found.append((row["created_at_ms"], row["subject"] or row["id"], _has_receipt(row), " ".join(what.split())[:40]))
    for kept in await Notebook().do(store.session_receipts, LIST_MAX):
        found.append((kept["kept_at_ms"], kept["subject"], "yes", "paid from a session"))
    if not found:
        buyer.tell("Nothing was bought yet.")
        return
    found.sort(reverse=True)
    rows = [(name, _minute(at_ms), has, what) for at_ms, name, has, what in found[:LIST_MAX]]
    table(("bought", "when (UTC)", "receipt", "what"), rows)


def _has_receipt(row: Mapping[str, Any]) -> str:
    """Or why there is none: only work has one, and none was done where nothing was bought."""
    if row["receipt"]:
        return "yes"
    if row["state"] == "open":
        return "not yet"
    return "refused" if "refused" in json.loads(row["outcome"] or "{}") else "-"


def _minute(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // SECOND_MS, UTC).strftime("%Y-%m-%d %H:%M")
