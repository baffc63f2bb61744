"""What a customer's node is to be, as plain values, and the versions that it is made of.

A plan is checked when it is made: what has reached `render` cannot break out of the document, and nothing in it is unpinned.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

Network = Literal["mainnet", "signet", "regtest"]

DISK_GB_MIN = {"mainnet": 40, "signet": 20, "regtest": 10}
# From this much on, the whole chain is kept: what it takes today, and some years of growth.
WHOLE_CHAIN_GB = {"mainnet": 1_200, "signet": 120, "regtest": 10}
STATE_GB = {"mainnet": 14, "signet": 4, "regtest": 1}  # what Bitcoin Core keeps besides blocks, pruned or not
SYSTEM_GB = 12  # Debian or Ubuntu, Docker, the images, logs
PRUNE_MIB_MIN = 550  # Bitcoin Core refuses less
PRUNE_MIB_MAX = 100_000
PRUNE_MIB_PER_FREE_GB = 600  # of 954: LND, LNbits and the years need the rest
SSH_KEY_CHARS_MAX = 16_384
TEXT_CHARS_MAX = 2_048

HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1123, section 2.1
DEVICE = re.compile(r"/dev/[A-Za-z0-9._/-]+")
SSH_KEY = re.compile(
    r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\.com) [A-Za-z0-9+/]+={0,3}( [\x20-\x7e]*)?"
)
IMAGE = re.compile(r"[a-z0-9./_-]+:[A-Za-z0-9._-]+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Parts:
    """The versions a node is made of. An image is its digest, so that what runs is what was meant or does not run at all.

    Docker itself, the firewall and the updates come from the distribution's signed archive, whose security fixes are wanted.
    """

    bitcoin: str = "bitcoin/bitcoin:29.1@sha256:de62c536feb629bed65395f63afd02e3a7a777a3ec82fbed773d50336a739319"
    lnd: str = "lightninglabs/lnd:v0.20.1-beta@sha256:f0a2bdc4b8bc89cb3b31b6e12d6b16ac5145defd916d8152cf0c1c07d8697cff"
    lnbits: str = "lnbits/lnbits:v1.5.6@sha256:6e37fbf9b847c066d7e022e19a018b3df7f12602a370f117857165d36bfb165b"
    tailscale: str = "1.96.4"
    tailscale_signer: str = "2596A99EAAB33821893C0A79458CA832957F5868"  # who signs Tailscale's package archive

    def __post_init__(self) -> None:
        for name in ("bitcoin", "lnd", "lnbits"):
            if not IMAGE.fullmatch(getattr(self, name)):
                raise ValueError(f"the image of {name} is not pinned: name it as repository:tag@sha256:digest")
        if not re.fullmatch(r"[0-9.]+", self.tailscale) or not re.fullmatch(r"[0-9A-F]{40}", self.tailscale_signer):
            raise ValueError("Tailscale's version is digits and dots, and its signer a fingerprint of 40 hexadecimal digits")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """One node. ValueError when a value could not be what it says.

    `volume_device`: a disk of its own for the data; None keeps it on the machine's disk. `disk_gb` is the size of whichever holds the data.
    `tailscale_auth_key`: None leaves Tailscale out; LNbits is then reached through SSH alone. `call_home_token` is worth one call.
    """

    hostname: str
    network: Network
    disk_gb: int
    ssh_public_keys: tuple[str, ...]
    call_home_url: str
    call_home_token: str = field(repr=False)
    tailscale_auth_key: str | None = field(default=None, repr=False)
    volume_device: str | None = None
    parts: Parts = Parts()

    def __post_init__(self) -> None:
        problems = [
            (
                not HOSTNAME.fullmatch(self.hostname),
                "hostname: lower-case letters, digits and hyphens, at most 63, not at the ends a hyphen",
            ),
            (self.network not in WHOLE_CHAIN_GB, "network: mainnet, signet or regtest"),
            (self.disk_gb < DISK_GB_MIN.get(self.network, 0), f"disk_gb: at least {DISK_GB_MIN.get(self.network)} for {self.network}"),
            (not self.ssh_public_keys, "ssh_public_keys: at least one, or nobody gets in"),
            (not all(map(one_key, self.ssh_public_keys)), "ssh_public_keys: each one line of an OpenSSH public key, without options"),
            (not reachable(self.call_home_url), "call_home_url: an http(s) address"),
            (not self.call_home_token or not plain(self.call_home_token), "call_home_token: some text, without control characters"),
            (not plain(self.tailscale_auth_key or ""), "tailscale_auth_key: text without control characters"),
            (not (self.volume_device is None or DEVICE.fullmatch(self.volume_device)), "volume_device: a path under /dev"),
        ]
        wrong = [sentence for is_wrong, sentence in problems if is_wrong]
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def prune_mib(self) -> int:
        """How much of the chain is kept, in MiB; 0 keeps all of it."""
        if self.disk_gb >= WHOLE_CHAIN_GB[self.network]:
            return 0
        free_gb = self.disk_gb - STATE_GB[self.network] - (0 if self.volume_device else SYSTEM_GB)
        return min(max(free_gb * PRUNE_MIB_PER_FREE_GB, PRUNE_MIB_MIN), PRUNE_MIB_MAX)


def one_key(text: str) -> bool:
    return len(text) <= SSH_KEY_CHARS_MAX and SSH_KEY.fullmatch(text) is not None


def plain(text: str) -> bool:
    """Fit for a line of a file and for a header: no control character, and text that UTF-8 can write."""
    return len(text) <= TEXT_CHARS_MAX and text.isprintable()


def reachable(url: str) -> bool:
    if not plain(url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
