"""Receipts from the buyer's side: kept, written to a file with the preimages, and verified by anybody who has the file."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from timmy.client import store
from timmy.client.bill import Bill, Unreadable, bill_of, proves
from timmy.client.errors import AnswerInvalid, NotKnownHere, ServerDown, ServerRefused
from timmy.client.http import TimmyHttp
from timmy.client.notebook import Notebook
from timmy.errors import Refusal, plain
from timmy.identity import nostr

KIND = 30_078  # NIP-78
TYPE, FORMAT = "timmy.receipt", 1
FILE_CHARS_MAX = 65_536
KEEP_SECONDS = 5.0


class ReceiptInvalid(Refusal):
    code = "receipt_invalid"
    title = "That receipt does not hold"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt whose signature holds. `told` is what the server says in it; `proven` are the payments whose preimage is there."""

    pubkey: str
    signed_at: int  # seconds since 1970
    told: Mapping[str, Any]
    proven: tuple[str, ...]  # payment hashes
    unproven: tuple[str, ...]
    bill: Bill  # computed again: a signature says who said it, and not that it adds up

    @property
    def server(self) -> str:
        server = self.told.get("server")
        return server if isinstance(server, str) else ""


def read(raw: str) -> Receipt:
    """A receipt's file, or a receipt as the server gives it. ReceiptInvalid says what does not hold."""
    if len(raw) > FILE_CHARS_MAX:
        raise ReceiptInvalid(f"A receipt has at most {FILE_CHARS_MAX:,} characters.")
    try:
        document = json.loads(raw, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise ReceiptInvalid("It is not JSON. Was the whole file copied?") from None
    if not isinstance(document, dict):
        raise ReceiptInvalid("It is not a receipt: a receipt is a JSON object.")
    event, preimages = (document.get("event"), document.get("preimages")) if "event" in document else (document, {})
    try:
        signed = nostr.parse(event)
        nostr.verify(signed)
    except nostr.NostrEventInvalid as problem:
        raise ReceiptInvalid(problem.message) from None
    told = _content(signed)
    hashes = [payment["paymentHash"] for payment in told["payments"]]
    shown = {payment["paymentHash"]: payment.get("preimage") for payment in told["payments"]}
    known = {**shown, **(preimages if isinstance(preimages, dict) else {})}
    try:
        bill = bill_of(told)
    except Unreadable as problem:
        raise ReceiptInvalid(f"Its {problem} cannot be read.") from None
    return Receipt(
        pubkey=signed.pubkey,
        signed_at=signed.created_at,
        told=told,
        proven=tuple(each for each in hashes if proves(known.get(each), each)),
        unproven=tuple(each for each in hashes if not proves(known.get(each), each)),
        bill=bill,
    )


def check_bill(receipt: Receipt) -> None:
    """That what it says was charged and goes back follows from what else it says."""
    if receipt.bill.wrong:
        raise ReceiptInvalid("It is signed, and it does not add up. " + ". ".join(map(str, receipt.bill.wrong)) + ".")


def check_text(receipt: Receipt, name: str, given: str) -> None:
    """That it is about this request ("promptSha256") or answer ("answerSha256")."""
    check_bytes(receipt, name, given.encode())


def check_bytes(receipt: Receipt, name: str, given: bytes) -> None:
    """The same of a request's body, as it was sent to /v1."""
    told = receipt.told.get(name)
    if not isinstance(told, str) or not hmac.compare_digest(told.encode(), hashlib.sha256(given).hexdigest().encode()):
        raise ReceiptInvalid(f"It is about another {'request' if name == 'promptSha256' else 'answer'}: the hashes differ.")


async def check_server(receipt: Receipt, url: str) -> None:
    """That the key is the one which this server names as its own (NIP-05). A signature alone says only that somebody signed."""
    http = TimmyHttp(url)
    try:
        names = (await http.get("/.well-known/nostr.json?name=_")).get("names")
    finally:
        await http.aclose()
    if not isinstance(names, dict) or names.get("_") != receipt.pubkey:
        raise ReceiptInvalid(f"It is not signed with the key that {url} names as its own.")


async def fetch(http: TimmyHttp, notebook: Notebook, path: str, subject: str, bearer: str) -> dict[str, Any]:
    """The server's receipt of something that was paid from a session, kept in the notebook. Raises ServerRefused, ServerDown."""
    receipt = dict(await http.get(path, bearer=bearer))
    await notebook.do(store.keep_session_receipt, subject, http.url, json.dumps(receipt), notebook.now_ms())
    return receipt


async def keep(http: TimmyHttp, notebook: Notebook, path: str, subject: str, bearer: str) -> None:
    """The same beside something that was paid for, and must not wait for it or be lost with it: what cannot be had soon is not kept."""
    # sqlite3.Error: a full disk, or a notebook that somebody else holds.
    with suppress(ServerRefused, ServerDown, AnswerInvalid, TimeoutError, sqlite3.Error):
        async with asyncio.timeout(KEEP_SECONDS):
            await fetch(http, notebook, path, subject, bearer)


def completion_path(completion_id: str) -> str:
    return f"/v1/chat/completions/{quote(completion_id, safe='')}/receipt"


async def file_of(notebook: Notebook, name: str) -> dict[str, Any]:
    """The file of a purchase (by its name or its job's): the server's receipt, and the preimages that our wallet got for the sats."""
    row = await notebook.do(store.purchase_named, name)
    if row is None and (kept := await notebook.do(store.session_receipt, name)) is not None:
        return {"event": json.loads(kept), "preimages": {}}
    if row is None or row["receipt"] is None:
        raise NotKnownHere(f"There is no receipt of {plain(name)} in {notebook.path}. timmy receipt list shows which there are.")
    payments = await notebook.do(store.payments_of, row["id"])
    return {
        "event": json.loads(row["receipt"]),
        "preimages": {each["payment_hash"]: each["preimage"] for each in payments if each["preimage"]},
    }


def _content(signed: nostr.NostrEvent) -> Mapping[str, Any]:
    try:
        told = json.loads(signed.content, parse_float=Decimal)
    except (ValueError, RecursionError):
        told = None
    if signed.kind != KIND or not isinstance(told, dict) or told.get("type") != TYPE:
        raise ReceiptInvalid("It is signed, and it is no receipt of a Timmy.")
    if told.get("version") != FORMAT:
        raise ReceiptInvalid("It is of a later version. Bring a newer timmy.")
    payments = told.get("payments")
    if not isinstance(payments, list) or not all(isinstance(each, dict) and isinstance(each.get("paymentHash"), str) for each in payments):
        raise ReceiptInvalid("Its payments cannot be read.")
    if not isinstance(told.get("state"), str):
        raise ReceiptInvalid("It does not say how the work ended.")
    if not _prices_hold(told):
        raise ReceiptInvalid("Its prices cannot be read.")
    return told


def _prices_hold(told: Mapping[str, Any]) -> bool:
    """Whoever signed it may have written anything: each price is an object that says what it is for, and so are the tokens that go with
    them. Both may be left out."""
    prices, tokens = told.get("prices") or [], told.get("tokens") or {}
    if not isinstance(prices, list) or not isinstance(tokens, dict):
        return False
    return all(
        isinstance(each, dict)
        and isinstance(each.get("purpose"), str)
        and isinstance(each.get("usdPerMillionTokens") or {}, dict)
        and isinstance(tokens.get(each["purpose"]) or {}, dict)
        for each in prices
    )
