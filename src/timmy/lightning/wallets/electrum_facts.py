"""What an Electrum daemon's answers say of its node: `getinfo`, `is_synchronized` and `list_channels` (Electrum 4.8, commands.py)."""

from __future__ import annotations

from typing import Any

from timmy.lightning.wallets.facts import Channels, NodeFacts, Reading, added
from timmy.money import Msats

OPEN, GOOD = "OPEN", "GOOD"  # lnchannel.py: ChannelState, PeerState
OPENING = ("PREOPENING", "OPENING", "FUNDED")
CLOSING = ("SHUTDOWN", "CLOSING", "FORCE_CLOSING", "REQUESTED_FCLOSE", "WE_ARE_TOXIC")


def facts_of(info: object, synced: object, channels: object) -> NodeFacts:
    """Whatever they are: what makes no sense is left out, and named."""
    read = Reading()
    if not isinstance(info, dict):
        read.nonsense.append("getinfo")
        info = {}
    listed = read.objects("channels", channels)
    usable = [one for one in listed or () if one.get("state") == OPEN and one.get("peer_state") == GOOD]
    return NodeFacts(
        software="Electrum",
        version=read.words("version", info.get("version")),
        connected=read.truth("connection", info.get("connected")),
        synced=read.truth("is_synchronized", synced),
        height=read.height("block height", info.get("blockchain_height")),
        chain_height=read.height("server's block height", info.get("server_height")),
        channels=_counted(listed) if listed is not None else None,
        spendable=_side(read, usable, "local") if listed is not None else None,
        receivable=_side(read, usable, "remote") if listed is not None else None,
        nonsense=read.told(),
    )


def _counted(listed: list[dict[str, Any]]) -> Channels:
    active = sum(one.get("state") == OPEN and one.get("peer_state") == GOOD for one in listed)
    inactive = sum(one.get("state") == OPEN and one.get("peer_state") != GOOD for one in listed)
    return Channels(active, inactive, sum(one.get("state") in (*OPENING, *CLOSING) for one in listed))


def _side(read: Reading, usable: list[dict[str, Any]], side: str) -> Msats | None:
    """Of what stands on one side, the part that is beyond the reserve that has to stay there (BOLT 2, `channel_reserve_satoshis`)."""
    balances = [read.sats(f"{side} balance", one.get(f"{side}_balance")) for one in usable]
    reserves = [read.sats(f"{side} reserve", one.get(f"{side}_reserve")) for one in usable]
    return added(
        [
            None if balance is None or reserve is None else Msats(max(0, balance.value - reserve.value))
            for balance, reserve in zip(balances, reserves, strict=True)
        ]
    )
