"""What settings must be together, and what they make of the house."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from timmy.settings.table import Settings

OPENAI_HOST = "api.openai.com"


def together(settings: Settings) -> list[str]:
    """A sentence for each contradiction; empty when it can start."""
    problems = []
    for wanted, name, value, because in (
        (settings.wallet == "lnbits", "LNBITS_URL", settings.lnbits_url, "WALLET=lnbits"),
        (settings.wallet == "lnbits", "LNBITS_API_KEY", settings.lnbits_api_key, "WALLET=lnbits"),
        (settings.wallet == "electrum", "ELECTRUM_URL", settings.electrum_url, "WALLET=electrum"),
        (settings.wallet == "lnd", "LND_MACAROON", settings.lnd_macaroon, "WALLET=lnd"),
        (settings.wallet == "nwc", "NWC_URI", settings.nwc_uri, "WALLET=nwc"),
        (settings.provider == "anthropic", "ANTHROPIC_API_KEY", settings.anthropic_api_key, "PROVIDER=anthropic"),
        (_needs_openai_key(settings), "OPENAI_API_KEY", settings.openai_api_key, f"PROVIDER=openai at {OPENAI_HOST}"),
    ):
        if wanted and value is None:
            problems.append(f"{because} needs {name}: set it in the environment or in .env.")
    if settings.payouts_max_per_hour > settings.payouts_max_per_day:
        problems.append(
            f"PAYOUTS_MAX_SATS_PER_HOUR ({settings.payouts_max_per_hour.value}) is above "
            f"PAYOUTS_MAX_SATS_PER_DAY ({settings.payouts_max_per_day.value}): lower the first or raise the second."
        )
    if settings.session_min > settings.session_max:
        problems.append(
            f"SESSION_MIN_SATS ({settings.session_min.value}) is above SESSION_MAX_SATS ({settings.session_max.value}): "
            "lower the first or raise the second."
        )
    if settings.session_min_balance > settings.session_max:
        problems.append(
            f"SESSION_MIN_BALANCE_SATS ({settings.session_min_balance.value}) is above SESSION_MAX_SATS ({settings.session_max.value}): "
            "every session would be paused from its deposit on. Lower the first or raise the second."
        )
    if settings.do_api_token is not None and settings.wallet == "builtin" and not is_on_this_machine(settings.do_api_url):
        problems.append("DO_API_TOKEN buys real machines, and WALLET=builtin takes sats that are not real: set WALLET, or unset the token.")
    if settings.do_api_token is not None and not is_on_this_machine(settings.do_api_url) and not _is_reached_safely(settings.public_url):
        problems.append(
            f"DO_API_TOKEN buys machines that call home at PUBLIC_URL, and {settings.public_url} is not an https address that they could"
            " reach: set PUBLIC_URL, or every order fails after its machine was paid."
        )
    if not settings.trust_established < settings.trust_trusted < settings.trust_elite:
        problems.append(
            f"TRUST_ESTABLISHED ({settings.trust_established}), TRUST_TRUSTED ({settings.trust_trusted}) and TRUST_ELITE "
            f"({settings.trust_elite}) must rise in this order."
        )
    return problems


def file_of_secrets(path: Path, secrets: Sequence[str]) -> list[str]:
    """Refused: anybody on the machine could take the wallet's key, or put in another."""
    if not secrets:
        return []
    return [f"{path} holds {', '.join(secrets)} and is open to every user of this machine. Run: chmod 600 {shlex.quote(str(path))}"]


def stand_ins(settings: Settings) -> tuple[str, ...]:
    found = []
    if settings.wallet == "builtin":
        found.append("The built-in wallet is a stand-in: its sats are not real. Set WALLET to earn.")
    if settings.provider == "builtin":
        found.append("The built-in demo agent is a stand-in: it is no language model. Set PROVIDER to sell real work.")
    if settings.sqlite_path is not None:
        found.append("The embedded SQLite stands in for PostgreSQL: one process only. Set DATABASE_URL to grow.")
    if settings.do_api_token is None and settings.dev_routes:
        found.append("The rehearsal cloud is a stand-in: nobody is at the nodes that it sells. Set DO_API_TOKEN to sell real ones.")
    return tuple(found)


def is_on_this_machine(url: str) -> bool:
    """Whether what is there can only be a stand-in, for tests."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def _is_reached_safely(url: str) -> bool:
    """By a machine somewhere else, with a token in its hands."""
    return urlsplit(url).scheme == "https" and not is_on_this_machine(url)


def _needs_openai_key(settings: Settings) -> bool:
    return settings.provider == "openai" and urlsplit(settings.openai_base_url).hostname == OPENAI_HOST
