"""The picture: it is really there, within its budgets, shows what happens, stops when nobody looks, and is given back whole.

Sixty pictures a second on a real graphics card cannot be proved with a processor that plays one; what each picture costs can.
"""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.browser import chromium
from tests.browser.conftest import Visit
from tests.browser.visitor import Visitor

CALLS_MAX = 60
TRIANGLES_MAX = 40_000
PROGRAMS_MAX = 10
SCRIPT_MS_PER_FRAME_MAX = 4.0
SMALL = {"width": 480, "height": 320}
READY = "html[data-world=ready][data-ready][data-line=open]"
NOTHING = np.array([0x0B, 0x08, 0x05])  # what is drawn where nothing is
MOVED = 24  # of 255: another colour to anybody's eye


TWO_FRAMES = "() => new Promise(seen => requestAnimationFrame(() => requestAnimationFrame(() => seen(true))))"
HIDE = """hidden => {
  Object.defineProperty(document, 'hidden', {get: () => hidden, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}"""
LOSE = """() => {
  window.lost = document.querySelector('#world').getContext('webgl2').getExtension('WEBGL_lose_context');
  window.lost.loseContext();
}"""


@pytest.fixture(scope="module")
def arguments() -> tuple[str, ...]:
    return chromium.ARGUMENTS


def stage(visit: Visit, query: str, **wishes: object) -> Visitor:
    visitor = visit(None, **{"viewport": SMALL, **wishes})
    visitor.page.goto(f"/tower?hour=21&{query}")
    visitor.page.wait_for_selector(READY)
    return visitor


def drawn(visitor: Visitor, count: int = 1) -> None:
    """Until so many pictures have been drawn from now on."""
    visitor.page.evaluate("() => { window.__scene.frames.length = 0 }")
    visitor.page.wait_for_function("count => window.__scene.frames.length >= count", arg=count)


def changed(before: np.ndarray, after: np.ndarray) -> int:
    return int((np.abs(before - after).max(axis=2) > MOVED).sum())


def test_the_workshop_is_really_drawn_and_within_its_budgets(visit: Visit) -> None:
    visitor = stage(visit, "still")
    assert visitor.page.evaluate(
        "() => { const gl = document.querySelector('#world').getContext('webgl2'); return !!gl && !gl.isContextLost() }"
    )
    visitor.page.wait_for_function("() => window.__scene.stats().calls > 0")
    seen = visitor.picture("#world")
    assert len(np.unique(seen.reshape(-1, 3), axis=0)) > 2_000, "a blank canvas has one colour"
    assert seen.std() > 20
    stats = visitor.page.evaluate("() => window.__scene.stats()")
    assert stats["calls"] <= CALLS_MAX
    assert stats["triangles"] <= TRIANGLES_MAX
    assert stats["programs"] <= PROGRAMS_MAX
    assert stats["ratio"] <= 2


def test_day_and_night_are_not_the_same(visit: Visit) -> None:
    visitor = stage(visit, "still")
    night = visitor.picture("#world")
    visitor.page.goto("/tower?still&hour=12")
    visitor.page.wait_for_selector(READY)
    assert changed(night, visitor.picture("#world")) > 2_000


@pytest.mark.parametrize("tablet", [{"width": 820, "height": 1180}, {"width": 744, "height": 1133}], ids=["tablet", "small tablet"])
def test_the_room_fills_a_tablet_that_is_held_upright(visit: Visit, tablet: dict[str, int]) -> None:
    visitor = stage(visit, "still", viewport=tablet)
    bar = visitor.locator("#bar").bounding_box()
    assert bar is not None
    visitor.page.click("#purse")
    visitor.sees_title("Balance")
    visitor.page.evaluate("() => { for (const over of document.querySelectorAll('#bar, main')) over.style.visibility = 'hidden' }")
    visitor.page.evaluate("() => { for (const over of document.querySelectorAll('main *')) over.style.visibility = 'hidden' }")
    visitor.page.wait_for_function(TWO_FRAMES)
    seen = visitor.picture("#world")[round(bar["height"]) :]
    empty = int((seen == NOTHING).all(axis=2).sum())
    assert empty < seen[..., 0].size / 1_000, "where the room ends there is nothing; a dark plank may have its colour by chance"


def test_what_happens_is_to_be_seen(visit: Visit) -> None:
    visitor = stage(visit, "still")
    idle = visitor.picture("#world")
    visitor.page.evaluate("() => { __scene.agent('beta', 'working'); __scene.agent('timmy', 'working') }")
    visitor.page.wait_for_function(TWO_FRAMES)
    busy = visitor.picture("#world")
    assert changed(idle, busy) > 200
    visitor.page.evaluate("() => __scene.pool(0.05)")
    visitor.page.wait_for_function(TWO_FRAMES)
    assert changed(busy, visitor.picture("#world")) > 100, "an emptier pool is an emptier ball"


def test_a_payment_makes_coins_fly(visit: Visit) -> None:
    visitor = stage(visit, "moving")
    drawn(visitor)
    visitor.page.evaluate("() => __scene.payment('in', 100)")
    assert visitor.page.evaluate("() => __scene.effects.isBusy")
    visitor.page.wait_for_function("() => !__scene.effects.isBusy", timeout=60_000)


def test_the_same_moment_is_the_same_picture(visit: Visit) -> None:
    visitor, other = stage(visit, "still"), stage(visit, "still")
    assert changed(visitor.picture("#world"), other.picture("#world")) < 20


def test_nothing_is_drawn_while_nobody_looks(visit: Visit) -> None:
    visitor = stage(visit, "moving")
    drawn(visitor, 2)
    visitor.page.evaluate(HIDE, True)
    assert visitor.page.evaluate("() => __scene.isRunning") is False
    visitor.page.evaluate(HIDE, False)
    drawn(visitor, 2)


def test_a_picture_that_was_lost_comes_back(visit: Visit) -> None:
    visitor = stage(visit, "moving")
    drawn(visitor, 2)
    visitor.page.evaluate(LOSE)
    visitor.page.wait_for_function("() => !__scene.isRunning")
    visitor.page.evaluate("() => window.lost.restoreContext()")
    drawn(visitor, 2)
    visitor.forgive("Context Lost", "Context Restored", "CONTEXT_LOST")


@pytest.mark.parametrize("how", [{"reduced_motion": "reduce"}])
def test_with_less_motion_it_stands_still_and_still_shows_what_is(visit: Visit, how: dict[str, str]) -> None:
    visitor = stage(visit, "", **how)
    assert visitor.page.evaluate("() => __scene.isRunning") is False
    before = visitor.picture("#world")
    assert np.array_equal(before, visitor.picture("#world"))
    visitor.page.evaluate("() => __scene.agent('alpha', 'evaluating')")
    visitor.page.wait_for_function(TWO_FRAMES)
    assert changed(before, visitor.picture("#world")) > 50


def test_a_slow_machine_draws_only_when_something_happens(visit: Visit) -> None:
    visitor = stage(visit, "")  # this very browser draws with the processor
    visitor.page.wait_for_function("() => !__scene.isRunning", timeout=60_000)
    visitor.page.evaluate("() => __scene.agent('gamma', 'working')")
    visitor.page.wait_for_function("() => __scene.isRunning")


def test_all_of_it_is_given_back(visit: Visit) -> None:
    visitor = stage(visit, "still")
    visitor.page.wait_for_function("() => window.__scene.stats().geometries > 10")
    visitor.page.click("#scene-switch")
    stats = visitor.page.evaluate("() => window.__scene.stats()")
    assert (stats["geometries"], stats["textures"]) == (0, 0)
    assert visitor.locator("html").get_attribute("data-world") == "off"
    visitor.page.click("#scene-switch")
    visitor.page.wait_for_selector(READY)
    visitor.forgive("Context Lost")


TIME_FRAMES = """(() => {
  const real = requestAnimationFrame.bind(window);
  window.spent = [];
  window.requestAnimationFrame = draw => real(now => {
    const began = performance.now();
    draw(now);
    spent.push(performance.now() - began);
  });
})()"""


def test_a_picture_costs_little_of_our_own_work(visit: Visit) -> None:
    def before(page: Page) -> None:
        page.add_init_script(TIME_FRAMES)

    visitor = visit(None, before=before, viewport={"width": 160, "height": 120})
    visitor.page.goto("/tower?moving")
    visitor.page.wait_for_selector(READY)
    drawn(visitor, 5)
    visitor.page.evaluate("() => { spent.length = 0 }")
    visitor.page.wait_for_function("() => spent.length >= 30", timeout=60_000)
    # The better half: on a loaded machine the other half measures who else was working.
    assert statistics.quantiles(visitor.page.evaluate("() => spent"), n=4)[0] < SCRIPT_MS_PER_FRAME_MAX
