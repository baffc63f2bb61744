"""What an LND tells of itself, for its operator: `/v1/getinfo` and `/v1/channels`."""

from __future__ import annotations

from typing import Any

from yarl import URL

from timmy.lightning.wallets.facts import Certificate, Channels, NodeFacts, Reading, added, is_in_the_clear
from timmy.money import Msats

SOFTWARE = "LND"


def facts_of(
    info: dict[str, Any],
    listed: object,
    *,
    url: URL,
    certificate: Certificate | None,
    skew_ms: int | None,
    listening: bool | None,
    key_excess: tuple[str, ...],
) -> NodeFacts:
    """Spendable and receivable are counted from the channels whose peer is there, without what both sides must keep in them."""
    read = Reading()
    counts = [read.whole("channels", info.get(f"num_{state}_channels")) for state in ("active", "inactive", "pending")]
    known = [count for count in counts if count is not None]
    found = read.objects("channels", listed)
    active = [one for one in found if read.truth("channels", one.get("active"))] if found is not None else None
    version = read.words("version", info.get("version"))
    return NodeFacts(
        software=SOFTWARE,
        version=version.partition(" ")[0] if version else None,  # "0.20.1-beta commit=…"
        alias=read.words("alias", info.get("alias")),
        synced=read.truth("synced", info.get("synced_to_chain")),
        height=read.height("block height", info.get("block_height")),
        channels=Channels(*known) if len(known) == len(counts) else None,
        spendable=_sum(read, active, "local"),
        receivable=_sum(read, active, "remote"),
        skew_ms=skew_ms,
        certificate=certificate,
        in_the_clear=is_in_the_clear(url),
        listening=listening,
        nonsense=read.told(),
        key_excess=key_excess,
    )


def set_aside(listed: object) -> Msats | None:
    """What LND takes off our balance in the channels that we opened, to close them with: neither side has it, and it is ours until then.

    Without it, each rise of the chain's fees would look like sats that are missing, and stop payouts. To the sat above, for each channel.
    None: it makes no sense."""
    read = Reading()
    asides = [_aside(read, channel) for channel in read.objects("channels", listed) or [] if channel.get("initiator") is True]
    return None if read.nonsense else added(asides)


def _aside(read: Reading, channel: dict[str, Any]) -> Msats | None:
    whole = read.sats("channels", _number(channel.get("capacity")))
    parts = [read.sats("channels", _number(channel.get(name))) for name in ("local_balance", "remote_balance", "unsettled_balance")]
    known = [part.value for part in parts if part is not None]
    if whole is None or len(known) != len(parts):
        return None
    return Msats(max(0, whole.value - sum(known)))


def _sum(read: Reading, channels: list[dict[str, Any]] | None, side: str) -> Msats | None:
    return None if channels is None else added([_movable(read, channel, side) for channel in channels])


def _movable(read: Reading, channel: dict[str, Any], side: str) -> Msats | None:
    constraints = channel.get(f"{side}_constraints")
    kept = constraints.get("chan_reserve_sat") if isinstance(constraints, dict) else channel.get(f"{side}_chan_reserve_sat")
    has = read.sats("channels", _number(channel.get(f"{side}_balance")))
    reserve = read.sats("channels", _number(kept))
    if has is None or reserve is None:
        return None
    return Msats(max(0, has.value - reserve.value))


def _number(value: object) -> object:
    """The gateway writes 64-bit numbers as text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 else value
