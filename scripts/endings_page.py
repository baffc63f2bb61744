"""Write docs/explanation/what-each-ending-costs.md: its table is made from the endings that the crash tests live through.

With --check nothing is written, and a page that is not what it would be is an error.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the endings belong to the tests, which are no installed package

from tests.chaos.endings import ENDINGS, NAMES  # noqa: E402 - after the line above
from tests.chaos.node_endings import NODE_ENDINGS  # noqa: E402

PAGE = ROOT / "docs" / "explanation" / "what-each-ending-costs.md"

HEAD = """# What each ending costs

A ledger that balances can still be unfair. So here is what each ending of a job costs the customer, with *fee* for what judging costs
and *price* for what the work invoice asked.

| the job ended | because | the customer has paid, in the end | owed back | lived as |
|---|---|---|---|---|
"""

NODES = """
## A node

| the order ended | because | the customer has paid, in the end | owed back | lived as |
|---|---|---|---|---|
"""

TAIL = """
And whatever the ending:

- **too much** paid on an invoice is owed back, with the rest;
- **too late** paid, after the job had ended, is owed back, all of it;
- **an outage of ours**, of the model or of the wallet costs the customer waiting, never sats;
- **work that is done twice**, because a process died before it could keep the answer, is charged once;
- **a refund** that fails, hangs, or whose fate nobody can tell for a while, is paid once, and to the customer it costs nothing.

What is owed waits in `owed/…` until it is claimed; it does not expire. What is below a whole sat stays as a credit of the job: it is not
part of what the customer has paid in this table.

## What it costs the house

The network's fees for sending refunds, the model's work that was lost or refused, and whatever a call cost beyond its price. The last
should not happen, as the length of an answer is bounded by what was paid; should a provider bill more than it was allowed, the customer
does not notice.

## Why you may believe the table

`tests/chaos/` lives through every row: once as it is, and once for every point at which the server's process can die in it (before and
after each statement, each commit, and each call of the wallet or the model), on both databases, then for pairs of such points. Each
time the books must close, the node and the books must agree, nothing may be left reserved or undone, and the customer must have paid
what the table says, to the millisat. The short run of the tests takes a part of these points, `./run heavy` takes all.

The table of this page is made by `scripts/endings_page.py` from `tests/chaos/endings.py` and `node_endings.py`; edit those.
"""


def rows() -> list[str]:
    """Endings that differ only in how they came about share a row."""
    lived: dict[tuple[str, str, str, str], list[str]] = {}
    for ending in ENDINGS:
        lived.setdefault((ending.state.value, ending.because, NAMES[ending.cost], ending.owed), []).append(f"`{ending.name}`")
    return [f"| `{state}` | {because} | {cost} | {owed} | {' '.join(names)} |" for (state, because, cost, owed), names in lived.items()]


def node_rows() -> list[str]:
    lived: dict[tuple[str, str, str, str], list[str]] = {}
    for ending in NODE_ENDINGS:
        surplus = ending.pays.tenths > 10
        owed = "what was paid beyond the fee" if ending.costs_fee and surplus else "nothing" if ending.costs_fee else "all that was paid"
        row = (ending.state.value, ending.because, "the fee" if ending.costs_fee else "nothing", owed)
        lived.setdefault(row, []).append(f"`{ending.name}`")
    return [f"| `{state}` | {because} | {cost} | {owed} | {' '.join(names)} |" for (state, because, cost, owed), names in lived.items()]


def render() -> str:
    return HEAD + "\n".join(rows()) + "\n" + NODES + "\n".join(node_rows()) + "\n" + TAIL


def main() -> None:
    page = render()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != page:
        raise SystemExit(f"{PAGE.relative_to(ROOT)} is not up to date: ./run docs writes it")


if __name__ == "__main__":
    main()
