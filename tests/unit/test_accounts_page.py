"""The page of accounts and codes says what the chart says, all of it."""

from __future__ import annotations

from scripts import accounts_page

from timmy.ledger import chart


def test_the_page_of_accounts_is_what_the_chart_says() -> None:
    assert accounts_page.PAGE.read_text("utf-8") == accounts_page.render(), "./run docs writes it anew"


def test_every_account_and_every_code_is_on_the_page() -> None:
    page = accounts_page.render()
    kinds = [f"{kind}/…" for kind in chart._GUARDED_KINDS]
    assert [name for name in [*chart._GUARDED, *kinds, *chart.Code] if f"| `{name}" not in page] == []
