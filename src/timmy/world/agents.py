"""The five who live here, and what each is doing: read off what is really under way, never made up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from timmy.clock import SECOND_MS, iso
from timmy.world.told import Message, Told

NAMES = {"timmy": "Timmy", "alpha": "Alpha", "beta": "Beta", "gamma": "Gamma", "delta": "Delta"}
SHOWN_MS = 1_500  # what is over in a blink is still seen to happen
UNPAID_MS = 10 * 60 * SECOND_MS  # for so long delta watches for a payment, as far as anybody is told
UNPAID_MAX = 1_000
ANSWER_MS = 45 * SECOND_MS  # an answer that has not come by then was lost with its process
ANSWERS_MAX = 100


@dataclass(frozen=True, slots=True)
class UnderWay:
    """How much of each is going on, in all processes together."""

    judging: int = 0
    working: int = 0
    paying: int = 0


@dataclass(frozen=True, slots=True)
class Agent:
    id: str
    state: str  # idle, evaluating, working, processing
    doing: str
    since_ms: int

    def shown(self) -> dict[str, object]:
        told = {"agentId": self.id, "name": NAMES[self.id], "state": self.state, "doing": self.doing}
        return {**told, "since": iso(self.since_ms)}

    def news(self, at_ms: int) -> Message:
        return {"type": "agent_state", "agentId": self.id, "state": self.state, "doing": self.doing, "at": iso(at_ms)}


class Agents:
    """Fed with what is told, and asked now and then."""

    def __init__(self, now_ms: int) -> None:
        self._agents = {id: Agent(id, "idle", _idle(id, 0), now_ms) for id in NAMES}
        self._seen_until_ms = dict.fromkeys(NAMES, 0)
        self._unpaid: dict[str, int] = {}  # ref → until when
        self._unanswered: dict[str, int] = {}  # by whom → until when

    def hear(self, told: Told, at_ms: int) -> None:
        """`at_ms`: when it is seen to happen."""
        message = told.message
        match message["type"]:
            case "job":
                self._hear_job(str(message["ref"]), str(message["state"]), at_ms)
            case "payment":
                self._seen_until_ms["delta"] = max(self._seen_until_ms["delta"], at_ms + SHOWN_MS)
            case "chat" if told.by is not None and told.awaits_answer:
                _remember(self._unanswered, told.by, at_ms + ANSWER_MS, ANSWERS_MAX)
            case "chat" if told.by is not None and not told.is_a_visitors:
                self._unanswered.pop(told.by, None)
                self._seen_until_ms["gamma"] = max(self._seen_until_ms["gamma"], at_ms + SHOWN_MS)

    def _hear_job(self, ref: str, state: str, at_ms: int) -> None:
        if state.startswith("awaiting_"):
            _remember(self._unpaid, ref, at_ms + UNPAID_MS, UNPAID_MAX)
        else:
            self._unpaid.pop(ref, None)
        who = {"evaluating": "alpha", "rejected": "alpha", "awaiting_work_payment": "alpha", "executing": "beta", "complete": "beta"}
        if state in who:
            self._seen_until_ms[who[state]] = max(self._seen_until_ms[who[state]], at_ms + SHOWN_MS)

    def look(self, under_way: UnderWay, now_ms: int) -> list[Agent]:
        """Those who do something else now."""
        unpaid = _living(self._unpaid, now_ms)
        seen = {id: int(until_ms > now_ms) for id, until_ms in self._seen_until_ms.items()}
        judging, working = max(under_way.judging, seen["alpha"]), max(under_way.working, seen["beta"])
        answering = max(_living(self._unanswered, now_ms), seen["gamma"])
        busy = {
            "alpha": ("evaluating", f"reading {_some(judging, 'request')}") if judging else None,
            "beta": ("working", f"working on {_some(working, 'request')}") if working else None,
            "gamma": ("working", f"answering {_some(answering, 'visitor')}") if answering else None,
            "delta": _till(under_way.paying, seen["delta"]),
            "timmy": _wizard(working, answering),
        }
        changed = []
        for id, now in busy.items():
            state, doing = now or ("idle", _idle(id, unpaid))
            was = self._agents[id]
            if (was.state, was.doing) != (state, doing):
                self._agents[id] = Agent(id, state, doing, was.since_ms if was.state == state else now_ms)
                changed.append(self._agents[id])
        return changed

    def shown(self) -> list[Mapping[str, object]]:
        return [agent.shown() for agent in self._agents.values()]


def _till(paying: int, seen: int) -> tuple[str, str] | None:
    if paying:
        return "processing", "sending sats back"
    return ("processing", "counting sats that came in") if seen else None


def _wizard(working: int, answering: int) -> tuple[str, str] | None:
    if working:
        return "working", "at the crystal ball"
    return ("working", "talking with a visitor") if answering else None


def _idle(id: str, unpaid: int) -> str:
    """Why somebody does nothing: without it, a house that waits for its customer looks dead."""
    if id == "delta" and unpaid:
        return "waiting for a payment" if unpaid == 1 else f"waiting for {unpaid} payments"
    waits = {
        "timmy": "waiting for a visitor",
        "alpha": "waiting for a request",
        "beta": "waiting for work",
        "gamma": "listening",
        "delta": "minding the till",
    }
    return waits[id]


def _some(count: int, thing: str) -> str:
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}" if count == 1 else f"{count} {thing}s"


def _remember(kept: dict[str, int], key: str, until_ms: int, most: int) -> None:
    kept.pop(key, None)
    kept[key] = until_ms
    if len(kept) > most:
        del kept[next(iter(kept))]


def _living(kept: dict[str, int], now_ms: int) -> int:
    for key in [key for key, until_ms in kept.items() if until_ms <= now_ms]:
        del kept[key]
    return len(kept)
