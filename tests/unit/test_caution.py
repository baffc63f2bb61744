"""What is said at the start about settings that will need the operator's hand."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from timmy.app import build
from timmy.app.caution import cautions
from timmy.lightning.wallets.protocol import Wallet
from timmy.money import Sats
from timmy.settings import Settings, SettingsError

JOB = Sats(300)


class Purse:
    name = "lnbits"

    def __init__(self, *, caps_fees: bool) -> None:
        self.caps_fees = caps_fees


def said(*, caps_fees: bool = False, **environ: str) -> tuple[str, ...]:
    return cautions(Settings.load(environ, dotenv=None), cast(Wallet, Purse(caps_fees=caps_fees)), JOB)


@pytest.mark.fault("A14")
def test_a_wallet_that_cannot_cap_fees_and_may_owe_more_than_it_pays_is_told_of() -> None:
    (caution,) = said()
    for word in ("lnbits", "PAYOUT_MAX_SATS_UNCAPPED", "100000", "300", "timmy refunds pay"):
        assert word in caution
    assert said(PAYOUT_MAX_SATS_UNCAPPED="299", SESSION_MAX_SATS="299") != (), "a job may owe more"


def test_where_nothing_can_be_stuck_nothing_is_said() -> None:
    assert said(caps_fees=True) == ()
    assert said(PAYOUT_MAX_SATS_UNCAPPED="100000") == ()
    assert said(PAYOUT_MAX_SATS_UNCAPPED="300", SESSION_MAX_SATS="300") == ()


async def test_the_house_knows_what_to_say(tmp_path: Path) -> None:
    settings = Settings.load({"DATA_DIR": str(tmp_path), "BTC_PRICE_SOURCES": ""}, dotenv=None)
    async with build(settings, background=False) as app:
        assert app.cautions == (), "the built-in wallet caps fees"


def test_no_session_is_paused_from_its_deposit_on() -> None:
    with pytest.raises(SettingsError, match="SESSION_MIN_BALANCE_SATS"):
        said(SESSION_MIN_BALANCE_SATS="1001", SESSION_MAX_SATS="1000")
