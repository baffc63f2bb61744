"""What an operator should know before the first customer comes: settings that are allowed, and will need a hand later."""

from __future__ import annotations

from timmy.lightning.wallets.protocol import Wallet
from timmy.money import Sats
from timmy.settings import Settings


def cautions(settings: Settings, wallet: Wallet, dearest_job: Sats) -> tuple[str, ...]:
    """A sentence for each. `dearest_job`: about the most that the work of one job can cost, and so be owed back."""
    return tuple(filter(None, (_above_uncapped(settings, wallet, dearest_job),)))


def _above_uncapped(settings: Settings, wallet: Wallet, dearest_job: Sats) -> str | None:
    least = settings.payout_max_uncapped
    if wallet.caps_fees or (settings.session_max <= least and dearest_job <= least):
        return None
    return (
        f"The {wallet.name} wallet cannot limit routing fees, so by itself it pays back at most {least.value} sats "
        f"(PAYOUT_MAX_SATS_UNCAPPED). A session may hold {settings.session_max.value} (SESSION_MAX_SATS), a job's work may cost about "
        f"{dearest_job.value}: a larger refund waits for you (timmy refunds pay). Raise the one, or lower the others."
    )
