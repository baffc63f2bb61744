"""Which wallet, which model: the only place that knows the concrete classes. Imported is the one that was chosen: all take a while."""

from __future__ import annotations

from typing import cast

from timmy.clock import Clock
from timmy.db import Database
from timmy.ids import RandomBytes
from timmy.lightning.wallets.builtin import BuiltinWallet
from timmy.lightning.wallets.protocol import Wallet, WalletDown
from timmy.models.builtin import BuiltinAgent
from timmy.models.chat import ChatProvider
from timmy.settings import Secret, Settings


async def wallet(settings: Settings, db: Database, clock: Clock, random_bytes: RandomBytes, webhook_url: str | None) -> Wallet:
    """The wallet of `WALLET`. The settings have been checked: what it needs is there. Raises WalletDown when it does not answer."""
    match settings.wallet:
        case "builtin":
            return BuiltinWallet(db, clock, random_bytes)
        case "lnbits":
            from timmy.lightning.wallets.lnbits import LnbitsWallet

            return await LnbitsWallet.connect(
                cast(str, settings.lnbits_url), _word(settings.lnbits_api_key), clock, webhook_url=webhook_url
            )
        case "electrum":
            from timmy.lightning.wallets.electrum import ElectrumWallet

            return await ElectrumWallet.connect(_word(settings.electrum_url), clock)
        case "lnd":
            from timmy.lightning.wallets.lnd import LndWallet

            try:
                return await LndWallet.connect(settings.lnd_url, _word(settings.lnd_macaroon), clock, certificate=settings.lnd_cert)
            except ValueError as trouble:
                raise WalletDown(f"{trouble}: see LND_MACAROON and LND_URL.") from None
        case "nwc":
            from timmy.lightning.wallets.nwc import NwcWallet

            return await NwcWallet.connect(_word(settings.nwc_uri), clock, random_bytes=random_bytes)
        case other:
            raise ValueError(f"WALLET={other} is not built in")


def provider(settings: Settings) -> ChatProvider:
    """The language models of `PROVIDER`."""
    total_seconds = float(settings.model_timeout_seconds)
    match settings.provider:
        case "builtin":
            return BuiltinAgent()
        case "anthropic":
            from timmy.models.anthropic import Anthropic
            from timmy.models.upstream import Timeouts

            timeouts = Timeouts(total_seconds=total_seconds)
            return Anthropic(_word(settings.anthropic_api_key), base_url=settings.anthropic_base_url, timeouts=timeouts)
        case "openai":
            from timmy.models.openai import OpenAICompatible
            from timmy.models.upstream import Timeouts

            key, timeouts = settings.openai_api_key, Timeouts(total_seconds=total_seconds)
            return OpenAICompatible(settings.openai_base_url, key.reveal() if key else None, timeouts=timeouts)
        case other:
            raise ValueError(f"PROVIDER={other} is not built in")


def _word(secret: Secret | None) -> str:
    assert secret is not None, "settings.checks refuses to start without it"
    return secret.reveal()
