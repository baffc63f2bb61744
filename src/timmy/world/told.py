"""From what happened to what everybody may know of it. Never an id, a payment hash, a customer's words, an address or a key.

A pure function of the event, so that every process, and every visitor who comes later, tells the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from timmy.clock import iso
from timmy.events import Event
from timmy.jobs.model import State
from timmy.money import Msats

WORLD = "world"  # the subject of what was said here
CHAT = "chat"
KINDS = ("state", "payment", "refund", "balance", CHAT)
PURPOSES = {"job_eval": "eval", "job_work": "work", "session_deposit": "session", "session_topup": "topup", "bootstrap_fee": "node"}
JOB_STATES = frozenset(state.value for state in State)
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
    match event.kind, dict(event.body):
        case "state", {"state": str(state)} if state in JOB_STATES:
            return [_job(event, state)]
        case "balance", {"reason": str(reason), "requestId": str(of), "state": str(state), "debitedMsat": int(spent_msat)} if (
            reason in SPENT
        ):
            return [_job(event, state if state in ("rejected", "failed") else "complete", spent_msat, of=of)]
        case "payment", {"purpose": str(purpose), "receivedMsat": int(received_msat)} if purpose in PURPOSES:
            return _payment(event, PURPOSES[purpose], received_msat)
        case "refund", {"state": "paid", "amountMsat": int(amount_msat)}:
            return [_paid(event, "refund", _sats(amount_msat))]
        case "chat", {"agentId": str(agent), "text": str(text)} if event.subject == WORLD:
            said = {"type": "chat", "agentId": agent, "text": text, **_when(event)}
            by = event.body.get("by")
            return [Told(said, by if isinstance(by, str) else None, bool(event.body.get("answered")))]
    return []


def ref(id: str) -> str:
    """A tag that is the same for the same thing, and leads nobody back to its id."""
    return hashlib.sha256(f"timmy world {id}".encode()).hexdigest()[:8]


def _job(event: Event, state: str, spent_msat: int | None = None, *, of: str | None = None) -> Told:
    message: dict[str, object] = {"type": "job", "state": state, "ref": ref(of or event.subject), **_when(event)}
    if spent_msat is not None:
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
