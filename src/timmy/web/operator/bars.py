"""Money by day as a picture: four bars beside each other for each day, because what is paid by different people is not stacked up."""

from __future__ import annotations

from collections.abc import Sequence

from timmy.web.markup import Markup, el
from timmy.web.operator.alerts import sats
from timmy.web.operator.protocol import Day

WIDTH, HEIGHT = 960, 180
KINDS = (("paid", "Paid by customers"), ("free", "Paid by the pool"), ("absorbed", "Absorbed by the house"), ("refunded", "Sent back"))
GAP = 2


def bars(days: Sequence[Day]) -> Markup:
    """The table below it says the same in numbers."""
    most = max((amount for day in days for amount in amounts(day)), default=0) or 1
    step = WIDTH // max(1, len(days))
    wide = max(1, (step - 2 * GAP) // len(KINDS))
    drawn = [
        el("rect", x=place * step + GAP + nth * wide, y=HEIGHT - tall, width=max(1, wide - 1), height=tall, class_=KINDS[nth][0])
        for place, day in enumerate(days)
        for nth, amount in enumerate(amounts(day))
        if (tall := -(-amount * HEIGHT // most)) > 0
    ]
    told = f"Money by UTC day, from {days[0].day} to {days[-1].day}. The table below has the numbers." if days else "No days."
    picture = el(
        "svg",
        el("title", told),
        *drawn,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        height=HEIGHT,
        role="img",
        class_="bars",
    )
    keys = (
        el("li", el("svg", el("rect", width=12, height=12, class_=name), class_="key", aria_hidden="true"), words) for name, words in KINDS
    )
    return el("figure", picture, el("ul", *keys, class_="legend"), class_="chart")


def amounts(day: Day) -> tuple[int, int, int, int]:
    """In the order of KINDS, in millisats."""
    return (day.sums.paid.value, day.sums.free.value, day.sums.absorbed.value, day.sums.refunded.value)


def days_table(days: Sequence[Day]) -> Markup:
    heads = ("Day (UTC)", "Came in", *(words for _, words in KINDS), "Cost of models")
    head = el("tr", *(el("th", words, scope="col", class_=None if n == 0 else "n") for n, words in enumerate(heads)))
    lines = (
        el(
            "tr",
            el("th", day.day, scope="row", class_="day"),
            *(
                el("td", sats(amount), class_="n")
                for amount in (day.sums.received, day.sums.paid, day.sums.free, day.sums.absorbed, day.sums.refunded)
            ),
            el("td", f"${day.sums.cost}", class_="n"),
        )
        for day in reversed(days)
    )
    table = el("table", el("caption", "In sats, the newest day first. Today is not over."), el("thead", head), el("tbody", *lines))
    return scroll("Money by day", table)


def scroll(name: str, table: Markup, *, is_whole: bool = False) -> Markup:
    """Wider than a phone: it scrolls, by keyboard too. `is_whole`: all that a page has to show is not looked at through a window."""
    return el("div", table, class_="scroll whole" if is_whole else "scroll", tabindex=0, role="region", aria_label=name)
