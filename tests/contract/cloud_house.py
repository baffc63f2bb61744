"""A rehearsal cloud on a real socket, and the adapters that speak to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from timmy.bootstrap.digitalocean import Choice, DigitalOcean
from timmy.bootstrap.http_api import Api
from timmy.bootstrap.rehearsal import Pace, RehearsalCloud, Shelf
from timmy.bootstrap.tailscale import Tailscale

QUICK = Pace(latency_seconds=0.0, boot_seconds=0.0, install_seconds=0.0, per_minute_max=100_000)
CHOICE = Choice(region="nyc3", size="s-2vcpu-4gb", image="debian-12-x64", volume_gb=0)
TOKEN = "token-of-the-cloud"


@asynccontextmanager
async def cloud_server(pace: Pace = QUICK, shelf: Shelf | None = None) -> AsyncIterator[RehearsalCloud]:
    rehearsal = RehearsalCloud(shelf, pace, token=TOKEN)
    await rehearsal.start()
    try:
        yield rehearsal
    finally:
        await rehearsal.stop()


def adapter(url: str, choice: Choice = CHOICE, *, token: str = TOKEN, timeout_seconds: float = 5.0, settles: int = 8) -> DigitalOcean:
    tailscale = Tailscale(
        Api("Tailscale", f"{url}/tailscale", token, timeout_seconds=timeout_seconds), tailnet="-", tag="tag:timmy-node", ttl_seconds=3_600
    )
    api = Api("DigitalOcean", f"{url}/digitalocean", token, timeout_seconds=timeout_seconds)
    return DigitalOcean(api, tailscale, choice, settles_within_seconds=settles, name="digitalocean")
