"""What an operator should know before anything else, each in a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Sequence

from timmy.money import Msats
from timmy.web.operator.protocol import Alert, Audit, Breaker, Upstream


def alerts(
    *,
    upstreams: Sequence[Upstream],
    audit: Audit,
    breakers: Sequence[Breaker],
    parked: int,
    refunds: tuple[int, Msats],
    unallocated: Msats,
    over: tuple[int, int, Msats],
) -> list[Alert]:
    """The grave ones first. `refunds`: how many do not get on by themselves, and their sum. `over`: how many of how many of the last jobs
    came to more than was charged for them, and by how much together."""
    count, sum_of_refunds = refunds
    over_count, done, over_sum = over
    found = [
        *(
            Alert(True, f"The books do not close: {broken}. Payouts are stopped until you have looked.", "#books")
            for broken in audit.broken
        ),
        *(
            Alert(True, f"{part.name} is down: {part.trouble or 'no answer'}.", "#upstreams")
            for part in upstreams
            if part.condition == "down"
        ),
        *(Alert(True, f"{breaker.name.capitalize()} stopped: {breaker.reason}.", "#breakers") for breaker in breakers),
    ]
    if count:
        found.append(Alert(True, f"{count} refunds do not get on by themselves: {sats(sum_of_refunds)} sats of customers.", "#refunds"))
    if parked:
        found.append(Alert(True, f"{parked} tasks failed too often and are laid aside. Mend the cause, then try them again.", "#tasks"))
    if unallocated:
        found.append(Alert(False, f"{sats(unallocated)} sats arrived that belong to nothing known.", "#strays"))
    if over_count:
        words = f"Work came to more than was charged on {over_count} of the last {done} jobs: absorbed {sats(over_sum)} sats."
        found.append(Alert(False, words, "#jobs"))
    found += [
        Alert(False, f"{part.name} is not at its best: {part.trouble or part.kind}.", "#upstreams")
        for part in upstreams
        if part.condition == "degraded"
    ]
    return found


def sats(amount: Msats) -> str:
    """Sats, with the three places behind the point that there are: nothing is rounded away."""
    whole, rest = divmod(amount.value, 1_000)
    return f"{whole:,}" + (f".{rest:03d}".rstrip("0") if rest else "")
