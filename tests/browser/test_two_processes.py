"""The tower before several processes: one shows what another does, and when it dies nothing is missed or told twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.house import AheadClock, House
from tests.browser.two_houses import Front, Process, two_houses
from tests.browser.visitor import READY, Visitor

Houses = tuple[Process, Process, Front]

BACK_AGAIN_MS = 90_000  # the pauses between attempts grow
JOB = ("A request is being read.", "A price was named.", "Work has begun.", "Work is done.")


def told(visitor: Visitor, kind: str) -> Counter[str]:
    """What the journal says of that kind, without the time, and how often."""
    lines = visitor.locator(f"#log .{kind}").evaluate_all(
        "all => all.map(one => [...one.childNodes].filter(n => n.nodeName !== 'TIME').map(n => n.textContent).join('').trim())"
    )
    return Counter(lines)


@pytest.fixture
def houses(tmp_path: Path, postgres_url: str) -> Iterator[Houses]:
    with two_houses(tmp_path, postgres_url) as found:
        yield found


def test_what_one_process_does_is_seen_through_another_and_nothing_is_lost_when_that_one_dies(visit: Visit, houses: Houses) -> None:
    showing, working, front = houses
    visitor = visit(at=House(f"http://127.0.0.1:{front.port}", AheadClock()))
    assert front.led == [showing.port]

    visitor.buys("A spell for rain.")
    price = visitor.locator(".costs").inner_text().split("Work, paid")[1].split(" sats")[0].strip()
    for line in JOB:
        visitor.sees(line, "#log")
    visitor.sees(f"{price} sats came in.", "#log")
    assert told(visitor, "work") == Counter(JOB)
    assert told(visitor, "money") == Counter(["10 sats came in.", f"{price} sats came in."])
    visitor.page.fill("#message", "Who works here?")
    visitor.page.keyboard.press("Enter")
    expect(visitor.locator("#log .mine")).to_have_count(1)

    front.sockets_to = None
    showing.kill()
    visitor.sees("The connection is lost", "#log")
    visitor.button("Close").click()
    visitor.buys("A spell for rain.")
    assert told(visitor, "work") == Counter(JOB), "nothing comes over a line that is cut"

    front.sockets_to = working.port
    visitor.page.wait_for_selector(READY, timeout=BACK_AGAIN_MS)
    visitor.hears("Connected again")
    assert front.led == [showing.port, working.port]
    expect(visitor.locator("#log .work")).to_have_count(2 * len(JOB))
    assert told(visitor, "work") == Counter(JOB * 2)
    assert told(visitor, "money") == Counter(["10 sats came in.", f"{price} sats came in."] * 2)
    assert told(visitor, "mine") == Counter(["you Who works here?"]), "it is still known whose words these were"

    visitor.page.fill("#message", "And who works now?")
    visitor.page.keyboard.press("Enter")
    expect(visitor.locator("#log .mine")).to_have_count(2)
    visitor.forgive("WebSocket connection")
