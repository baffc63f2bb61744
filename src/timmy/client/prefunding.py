"""Sessions from the buyer's side: open one, spend from it, fill it up, take the rest back, and hand out smaller keys to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from timmy.client import answers, store
from timmy.client.answers import Offer, Reply, SessionStatus
from timmy.client.destinations import INVOICE, LNURL, Place, invoice_of
from timmy.client.errors import InvoiceLapsed, NotKnownHere, NoWallet, ServerRefused, Unfinished
from timmy.client.http import WORK_TIMEOUT_SECONDS, TimmyHttp
from timmy.client.notebook import NO_LIMITS, Notebook
from timmy.client.spending import Fate, Spending
from timmy.clock import SECOND_MS
from timmy.identity import macaroons
from timmy.ids import new_id
from timmy.money import Sats

PATIENCE_SECONDS = 900.0  # for a person with a phone; the server ends it earlier by letting the invoice lapse
LOOK_SECONDS = 0.3
REFUND_PATIENCE_SECONDS = 20.0
IN_PROGRESS_SECONDS = 2.0
DEPOSIT, TOPUP = "deposit", "topup"
AWAITING = "awaiting_payment"


def narrowed(
    macaroon: str,
    *,
    most: Sats | None = None,
    most_per_request: Sats | None = None,
    valid_until_ms: int | None = None,
    capabilities: Sequence[str] = (),
    only: str | None = None,
) -> str:
    """A smaller key out of a macaroon, made here without asking anybody (identity/caveats.py says what each condition means).

    ValueError when nothing would be narrowed; MacaroonMalformed when it is no macaroon."""
    caveats = [
        *([f"timmy_max_msat={most.msats.value}"] if most is not None else []),
        *([f"timmy_max_msat_per_request={most_per_request.msats.value}"] if most_per_request is not None else []),
        *([f"timmy_valid_until={valid_until_ms // SECOND_MS}"] if valid_until_ms is not None else []),
        *([f"timmy_capabilities={','.join(capabilities)}"] if capabilities else []),
        *([f"only={only}"] if only else []),
    ]
    if not caveats:
        raise ValueError("Name at least one limit: the most that may be spent, until when, or what for.")
    smaller = macaroons.decode(macaroon)
    for caveat in caveats:
        smaller = smaller.with_caveat(caveat)
    return smaller.encode()


class Prefunding:
    def __init__(self, http: TimmyHttp, notebook: Notebook, spending: Spending) -> None:
        self._http = http
        self._notebook = notebook
        self._spending = spending

    async def begin(self, kind: str, amount: Sats, session_id: str | None = None) -> str:
        """Written down before the server hears of it; the name of the purchase. `kind`: "session", or "topup" of a session.

        LimitReached: nothing was begun."""
        await self._spending.check_room([amount], NO_LIMITS, f"{amount.value} sats")
        id = new_id("buy")
        await self._notebook.do(
            store.insert_purchase,
            id=id,
            url=self._http.url,
            kind=kind,
            subject=session_id,
            body=json.dumps({"amountSats": amount.value}),
            most_msat=None,
            now_ms=self._notebook.now_ms(),
        )
        return id

    async def follow(self, id: str) -> SessionStatus:
        """From wherever it is until the session is open, or filled up."""
        row = await self._notebook.do(store.find_purchase, id)
        if row is None or row["kind"] not in ("session", "topup"):
            raise NotKnownHere(f"There is no session's purchase {id} in {self._notebook.path}.")
        body = json.loads(row["body"])
        try:
            return await (self._open(id, row["subject"], body) if row["kind"] == "session" else self._top_up(id, row["subject"], body))
        except ServerRefused as refused:
            if refused.is_for_good:
                await self._notebook.drop(id, refused.message)
            raise

    async def _open(self, id: str, session_id: str | None, body: dict[str, Any]) -> SessionStatus:
        if session_id is None:
            session_id = answers.text(await self._http.post("/api/sessions", body, key=id), "sessionId")
            await self._notebook.do(store.name_subject, id, session_id)
        status = await self.status(session_id)
        if status.state == AWAITING:
            await self._spending.pay(id, DEPOSIT, status.deposit)
            status = await self._until(session_id, lambda seen: seen.state != AWAITING)
        if status.macaroon is None:
            # However late a deposit arrives, it opens the session: ended here, the purchase would leave it to nobody.
            if await self._spending.seen_lapsed(status.deposit):
                raise Unfinished(
                    f"The deposit of session {session_id} was not there in time, and may still arrive. Then the session opens: look again"
                    " with resume()."
                )
            await self._ended(id, status)
            raise InvoiceLapsed("The deposit was not paid in time, so there is no session. Nothing is owed; open another.")
        await self._spending.seen_paid(status.deposit)
        await self._notebook.do(store.keep_session, session_id, self._http.url, status.macaroon, self._notebook.now_ms())
        await self._ended(id, status)
        return status

    async def _top_up(self, id: str, session_id: str, body: dict[str, Any]) -> SessionStatus:
        """The invoice is asked for with the purchase's name as key, and written down before it is paid: taken up after a crash it is the
        same one, also when the server has long forgotten the key and would make another."""
        if "offer" not in body:
            asked = {"amountSats": body["amountSats"]}
            body = {**asked, "offer": await self._http.post(f"/api/sessions/{session_id}/topup", asked, key=id)}
            answers.offer(body["offer"])  # or AnswerInvalid: nonsense is not kept
            await self._notebook.do(store.keep_body, id, json.dumps(body))
        offer = answers.offer(body["offer"])
        status = await self.status(session_id)
        if _waits(status, offer):
            await self._spending.pay(id, TOPUP, offer)
            status = await self._until(session_id, lambda seen: not _waits(seen, offer))
        if offer.expires_at_ms > self._notebook.now_ms():
            await self._spending.seen_paid(offer)  # it is gone from the session before its time, so it was paid
        elif await self._spending.seen_lapsed(offer) is Fate.OPEN:
            raise Unfinished(f"The top-up of session {session_id} was not there in time, and may still arrive. Look again with resume().")
        await self._ended(id, status)
        return status

    async def _until(self, session_id: str, enough: Callable[[SessionStatus], bool]) -> SessionStatus:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            status = await self.status(session_id)
            if enough(status):
                return status
            if time.monotonic() > deadline:
                raise Unfinished(f"The payment for session {session_id} has not arrived yet. Look again with resume().")
            await asyncio.sleep(LOOK_SECONDS)

    async def _ended(self, id: str, status: SessionStatus) -> None:
        kept = {name: value for name, value in status.document.items() if name != "macaroon"}  # the sessions' table has it
        await self._notebook.do(store.end_purchase, id, json.dumps(kept), self._notebook.now_ms())

    # An open session -------------------------------------------------------------------------------------

    async def status(self, session_id: str) -> SessionStatus:
        return answers.session(await self._http.get(f"/api/sessions/{session_id}"))

    async def request(self, session_id: str, macaroon: str, request: str, *, key: str | None = None) -> Reply:
        """Asked again with the same key for as long as it is being worked on: it is charged once."""
        key = key or new_id("ask")
        path = f"/api/sessions/{session_id}/request"
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                done = await self._http.post(path, {"request": request}, key=key, bearer=macaroon, timeout_seconds=WORK_TIMEOUT_SECONDS)
                return answers.reply(done)
            except ServerRefused as refused:
                if refused.answer_code != "request_in_progress" or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(IN_PROGRESS_SECONDS)

    async def close(self, session_id: str, macaroon: str, place: Place | None = None) -> SessionStatus:
        """End it. What is left goes to the place, or to an invoice of the purse's."""
        status = await self.status(session_id)
        owed = status.balance.floor_sats() + status.refund.owed
        if owed and status.refund.destination is None:
            destination = await self._destination(place, owed, session_id)
            path = f"/api/sessions/{session_id}/close"
            status = answers.session(await self._http.post(path, destination, key=new_id("cls"), bearer=macaroon))
        deadline = time.monotonic() + REFUND_PATIENCE_SECONDS
        while status.refund.state == "pending" and not status.refund.trouble and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
            status = await self.status(session_id)
        if status.refund.state != "pending":  # until then it can be closed again, to another place
            await self._notebook.do(store.close_session, session_id, self._notebook.now_ms())
        return status

    async def _destination(self, place: Place | None, owed: Sats, session_id: str) -> Place:
        """As the server takes it: an LNURL is asked for an invoice first, from here."""
        if place is None:
            return await self._own_invoice(owed, session_id)
        if LNURL in place:
            return {INVOICE: await invoice_of(place[LNURL], owed, f"Rest of {session_id}")}
        return place

    async def _own_invoice(self, owed: Sats, session_id: str) -> dict[str, str]:
        purse = self._spending.purse
        invoice = await purse.invoice(owed, f"Rest of {session_id}") if purse and owed else None
        if invoice is None:
            raise NoWallet(
                f"{owed.value} sats are to come back, and nobody said where to. Name a Lightning address, an LNURL, or a wallet."
            )
        return {"invoice": invoice}


def _waits(status: SessionStatus, offer: Offer) -> bool:
    return status.pending_topup is not None and status.pending_topup.payment_hash == offer.payment_hash
