"""The part of the table that is about nodes: what one costs, what it is made of, and whose account pays for its machine."""

# ruff: noqa: RUF009 - setting() is dataclasses.field() with the spec in it

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from timmy.money import Sats
from timmy.settings import kinds
from timmy.settings.kinds import Kind, Secret
from timmy.settings.server import ServerSettings
from timmy.settings.spec import setting

SLUG = re.compile(r"[A-Za-z0-9._:@-]{1,100}")


def slug() -> Kind[str]:
    def parse(text: str) -> str:
        if not SLUG.fullmatch(text):
            raise ValueError
        return text

    return Kind(parse, "a name of letters, digits and . _ : @ -")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NodeSettings(ServerSettings):
    # Nodes
    bootstrap_fee: Sats = setting(
        "Nodes", "BOOTSTRAP_FEE_SATS", kinds.sats(1), Sats(10_000), "What a node costs: one machine, made and handed over."
    )
    bootstrap_network: str = setting(
        "Nodes", "BOOTSTRAP_NETWORK", kinds.one_of("mainnet", "signet", "regtest"), "mainnet", "The chain that nodes follow."
    )
    bootstrap_patience_seconds: int = setting(
        "Nodes",
        "BOOTSTRAP_PATIENCE_SECONDS",
        kinds.whole(60, 86_400),
        5_400,
        "How long after its payment a node may take until it answers; then it fails, is taken away, and its fee is owed back.",
    )
    bootstrap_keys_dir: Path = setting(
        "Nodes",
        "BOOTSTRAP_KEYS_DIR",
        kinds.folder(),
        cast(Path, None),
        "Where the seals of private keys lie. Shared by all processes, and not to be in any backup: destroying a seal erases its key.",
        default_shown="DATA_DIR/bootstrap_keys",
    )
    do_api_token: Secret | None = setting(
        "Nodes",
        "DO_API_TOKEN",
        kinds.secret(),
        None,
        "DigitalOcean's token: nodes are real machines then. Unset: development servers rehearse, all others sell none.",
    )
    do_api_url: str = setting("Nodes", "DO_API_URL", kinds.url(), "https://api.digitalocean.com", "For a proxy of your own.")
    do_region: str = setting("Nodes", "DO_REGION", slug(), "nyc3", "Where machines are made.")
    do_size: str = setting("Nodes", "DO_SIZE", slug(), "s-2vcpu-4gb", "What size they have. The chain is pruned to what its disk can hold.")
    do_image: str = setting("Nodes", "DO_IMAGE", slug(), "debian-12-x64", "What they begin with: Debian or Ubuntu.")
    do_volume_size_gb: int = setting(
        "Nodes", "DO_VOLUME_SIZE_GB", kinds.whole(0, 16_384), 0, "A disk of its own for the chain, which is billed besides. 0: none."
    )
    tailscale_api_key: Secret | None = setting(
        "Nodes", "TAILSCALE_API_KEY", kinds.secret(), None, "Lets each node into a private network. Unset: LNbits is reached through SSH."
    )
    tailscale_api_url: str = setting("Nodes", "TAILSCALE_API_URL", kinds.url(), "https://api.tailscale.com", "For a proxy of your own.")
    tailscale_tailnet: str = setting(
        "Nodes", "TAILSCALE_TAILNET", slug(), "-", "Which private network; `-` is the one that the key belongs to."
    )
    tailscale_tag: str = setting(
        "Nodes", "TAILSCALE_TAG", slug(), "tag:timmy-node", "The tag of nodes there; its policy must let the key's owner give it."
    )
