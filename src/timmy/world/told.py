"""From what happened to what everybody may know of it. Never an id, a payment hash, a customer's words, an address or a key.

A pure function of the event, so that every process, and every visitor who comes later, tells the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from timmy.clock import iso
from timmy.events import Event
from timmy.money import Msats

WORLD = "world"  # the subject of what was said here
CHAT = "chat"
KINDS = ("state", "payment", "refund", "balance", CHAT)
PURPOSES = {"job_eval": "eval", "job_work": "work", "session_deposit": "session", "session_topup": "topup"}
SPENT = {"request", "completion"}  # the reasons of a balance that work was done for
REMARK_ONE_IN = 4  # a helper who spoke at every payment would soon be unbearable
WORDS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve")

Message = Mapping[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    message: Message
    by: str | None = None  # of words, and of the answer to them: which they are
    awaits_answer: bool = False

    @property
    def is_a_visitors(self) -> bool:
        return self.message.get("agentId") == "visitor"


def told(event: Event) -> list[Told]:
    """What of an event goes to everybody, in order."""
    match event.kind:
        case "state" if isinstance(event.body.get("state"), str):
            return [_job(event, event.body["state"])]
        case "balance" if event.body.get("reason") in SPENT:
            state = event.body.get("state")
            ended = state if state in ("rejected", "failed") else "complete"
            return [_job(event, ended, event.body.get("debitedMsat"), of=str(event.body.get("requestId")))]
        case "payment" if event.body.get("purpose") in PURPOSES:
            return _payment(event, PURPOSES[event.body["purpose"]], event.body["receivedMsat"])
        case "refund" if event.body.get("state") == "paid":
            return [_paid(event, "refund", _sats(event.body["amountMsat"]))]
        case "chat" if event.subject == WORLD:
            said = {"type": "chat", "agentId": event.body["agentId"], "text": event.body["text"], **_when(event)}
            return [Told(said, event.body.get("by"), bool(event.body.get("answered")))]
    return []


def ref(id: str) -> str:
    """A tag that is the same for the same thing, and leads nobody back to its id."""
    return hashlib.sha256(f"timmy world {id}".encode()).hexdigest()[:8]


def _job(event: Event, state: str, spent_msat: object = None, *, of: str | None = None) -> Told:
    message: dict[str, object] = {"type": "job", "state": state, "ref": ref(of or event.subject), **_when(event)}
    if isinstance(spent_msat, int):
        message["amountSats"] = _sats(spent_msat)
    return Told(message)


def _payment(event: Event, purpose: str, received_msat: int) -> list[Told]:
    sats = _sats(received_msat)
    found = [_paid(event, purpose, sats)]
    if sats and hashlib.sha256(f"remark {event.seq}".encode()).digest()[0] % REMARK_ONE_IN == 0:
        found.append(Told({"type": "chat", "agentId": "delta", "text": remark(sats), **_when(event)}))
    return found


def remark(sats: int) -> str:
    many = WORDS[sats] if sats < len(WORDS) else f"{sats:,}"
    return f"{many} {'sat' if sats == 1 else 'sats'} came in."


def _paid(event: Event, purpose: str, sats: int) -> Told:
    return Told({"type": "payment", "purpose": purpose, "amountSats": sats, **_when(event)})


def _when(event: Event) -> dict[str, object]:
    return {"at": iso(event.at_ms), "cursor": event.seq}


def _sats(msat: int) -> int:
    return Msats(msat).floor_sats().value
