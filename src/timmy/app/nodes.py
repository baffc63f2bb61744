"""What is needed to sell nodes: which cloud, whose account, and whether anything is sold here at all."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from timmy.bootstrap import Bootstraps, CleanUp, Cloud, KeyRoom, Network, OrderTokens, Provisioner, Terms, machine
from timmy.bootstrap import flow as bootstrap_flow
from timmy.bootstrap.clean_up import ERASE, SWEEP
from timmy.bootstrap.desk import REHEARSAL
from timmy.bootstrap.digitalocean import Choice, DigitalOcean
from timmy.bootstrap.http_api import Api
from timmy.bootstrap.tailscale import Tailscale
from timmy.clock import Clock
from timmy.db import Database, Tx
from timmy.identity import kept_secret
from timmy.ids import RandomBytes
from timmy.jobs import flow as jobs_flow
from timmy.lightning.paying import Paying
from timmy.lightning.payouts import Payout
from timmy.lightning.receiving import Receiving
from timmy.lightning.wallets.protocol import Network as Chain
from timmy.lightning.wallets.protocol import Wallet
from timmy.settings import Settings
from timmy.settings.checks import is_on_this_machine
from timmy.tasks import Bell, NewTask
from timmy.tasks.worker import Handler

if TYPE_CHECKING:  # a web server of its own, read where it is started
    from timmy.bootstrap.rehearsal import RehearsalCloud

# An answer that takes longer is none. What was asked for by then shows within SETTLES, or was never made.
ANSWER_WITHIN_SECONDS, SETTLES_WITHIN_SECONDS = 30.0, 120
REHEARSAL_ANSWER_WITHIN_SECONDS, REHEARSAL_SETTLES_WITHIN_SECONDS = 4.0, 10
POLL_SECONDS, REHEARSAL_POLL_SECONDS = 5.0, 0.5
JOIN_KEY_SPARE_SECONDS = 1_800  # beyond the time that a node may take


class NodeShop:
    """Everything that sells nodes, put together."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        clock: Clock,
        bell: Bell,
        random_bytes: RandomBytes,
        wallet: Wallet,
        receiving: Receiving,
        paying: Paying,
        cloud: Cloud,
    ) -> None:
        keys, tokens = KeyRoom(settings.bootstrap_keys_dir, random_bytes), _tokens(settings, random_bytes)
        poll_seconds = REHEARSAL_POLL_SECONDS if _is_near(settings) else POLL_SECONDS
        terms = Terms(
            public_url=settings.public_url,
            network=cast(Network, settings.bootstrap_network),
            with_volume=settings.do_volume_size_gb > 0,
            patience_seconds=settings.bootstrap_patience_seconds,
            poll_seconds=poll_seconds,
        )
        closed = why_closed(settings, wallet)
        self.desk = Bootstraps(
            db, clock, bell, random_bytes, receiving, paying, keys, tokens,
            fee=settings.bootstrap_fee, cloud=cloud.name, closed=closed,
        )  # fmt: skip
        made = Provisioner(db, clock, bell, cloud, keys, tokens, terms)
        ended = CleanUp(db, clock, bell, cloud, keys, paying, look_again_seconds=poll_seconds)
        self.handlers: dict[str, Handler] = {
            machine.PROVISION: made.provision,
            machine.CLEAN_UP: ended.clean_up,
            machine.REFUND_TO: ended.refund_to,
            ERASE: ended.erase,
            SWEEP: ended.sweep,
        }

    @staticmethod
    def first_sweep(at_ms: int) -> NewTask:
        return CleanUp.first_sweep(at_ms)


def why_closed(settings: Settings, wallet: Wallet) -> str | None:
    """Neither a rehearsal for real sats nor a real machine for sats that are not: both would be somebody's loss. None: it is open."""
    if settings.do_api_token is None:
        return None if settings.dev_routes else "This server sells no nodes: its operator has set no DO_API_TOKEN."
    if wallet.network is not Chain.MAINNET and not is_on_this_machine(settings.do_api_url):
        return "This server sells no nodes: a machine costs real money, and its wallet takes sats that are not real."
    return None


@asynccontextmanager
async def open_cloud(settings: Settings, *, background: bool) -> AsyncIterator[Cloud]:
    """The cloud of the settings. Where none is set and the background work is ours, the rehearsal one runs beside us."""
    rehearsal: RehearsalCloud | None = None
    url = settings.do_api_url
    if settings.do_api_token is None and settings.dev_routes and background:
        from timmy.bootstrap.rehearsal import RehearsalCloud, Shelf

        rehearsal = RehearsalCloud(Shelf(settings.data_dir / "rehearsal_cloud.json"))
        url = await rehearsal.start()
    cloud = _digitalocean(settings, url, rehearsal)
    try:
        yield cloud
    finally:
        await cloud.aclose()
        if rehearsal is not None:
            await rehearsal.stop()


def _digitalocean(settings: Settings, url: str, rehearsal: RehearsalCloud | None) -> DigitalOcean:
    is_near = _is_near(settings)
    timeout_seconds = REHEARSAL_ANSWER_WITHIN_SECONDS if is_near else ANSWER_WITHIN_SECONDS
    token = settings.do_api_token.reveal() if settings.do_api_token is not None else ""
    choice = Choice(settings.do_region, settings.do_size, settings.do_image, settings.do_volume_size_gb)
    api = Api("DigitalOcean", url, token, timeout_seconds=timeout_seconds)
    ts_url, ts_key = settings.tailscale_api_url, settings.tailscale_api_key.reveal() if settings.tailscale_api_key is not None else None
    if rehearsal is not None:
        from timmy.bootstrap.rehearsal.digitalocean import REGIONS, SIZES

        api = Api("The rehearsal cloud", f"{url}/digitalocean", rehearsal.token, timeout_seconds=timeout_seconds)
        ts_url, ts_key = f"{url}/tailscale", rehearsal.token
        # Names that only the real one knows must not fail a rehearsal.
        choice = Choice(
            settings.do_region if settings.do_region in REGIONS else REGIONS[0],
            settings.do_size if settings.do_size in SIZES else "s-2vcpu-4gb",
            settings.do_image,
            settings.do_volume_size_gb,
        )
    tailnet = None
    if ts_key is not None:
        tailnet = Tailscale(
            Api("Tailscale", ts_url, ts_key, timeout_seconds=timeout_seconds),
            tailnet=settings.tailscale_tailnet,
            tag=settings.tailscale_tag,
            ttl_seconds=settings.bootstrap_patience_seconds + JOIN_KEY_SPARE_SECONDS,
        )
    return DigitalOcean(
        api,
        tailnet,
        choice,
        settles_within_seconds=REHEARSAL_SETTLES_WITHIN_SECONDS if is_near else SETTLES_WITHIN_SECONDS,
        name="digitalocean" if settings.do_api_token is not None else REHEARSAL,
    )


def _is_near(settings: Settings) -> bool:
    return settings.do_api_token is None or is_on_this_machine(settings.do_api_url)


def _tokens(settings: Settings, random_bytes: RandomBytes) -> OrderTokens:
    """As with other tokens: machines that share TIMMY_TOKEN_SECRET derive the same ones; one machine may keep its own secret."""
    if settings.token_secret is not None:
        return OrderTokens(hmac.digest(settings.token_secret.reveal().encode(), b"timmy orders of nodes", hashlib.sha256))
    return OrderTokens(kept_secret(settings.data_dir / "bootstrap_secret", random_bytes))


def ended_payouts(tx: Tx, payout: Payout, at_ms: int) -> None:
    """A refund has ended: whose it was, knows its subject."""
    if payout.subject.startswith("bst_"):
        bootstrap_flow.payout_ended(tx, payout, at_ms)
    else:
        jobs_flow.payout_ended(tx, payout, at_ms)
