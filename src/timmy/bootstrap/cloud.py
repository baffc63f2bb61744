"""What a cloud can do for us, and the few ways in which it can fail to. An adapter translates and nothing else: it keeps no books.

Whatever is made carries the tag of its order, so that it can be found again by whoever does not know whether it was made. Names and tags:
`timmy-<order>`; machines and volumes carry `timmy-node` besides. Making is not repeated by an adapter, and asking is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from timmy.errors import Outage, Refusal

NODE_TAG = "timmy-node"  # of everything that was ever made for an order of ours


class CloudDown(Outage):
    """No answer, or none that makes sense. After asking for something to be made: it may have been made."""

    code = "cloud_down"
    title = "The cloud is not answering"


class CloudBusy(CloudDown):
    """It was refused for now: too many requests, or something else has to end first. Nothing was made."""

    code = "cloud_busy"
    title = "The cloud asks us to wait"

    def __init__(self, message: str, after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class CloudRefused(Refusal):
    """It will not do this, now or later: sold out, over a limit, wrong token. Nothing was made."""

    status = 502
    code = "cloud_refused"
    title = "The cloud refuses"


class Status(StrEnum):
    NEW = "new"
    ACTIVE = "active"
    OFF = "off"  # also what an archived machine is to us


@dataclass(frozen=True, slots=True)
class Machine:
    id: str
    status: Status
    address: str | None
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Volume:
    id: str
    name: str
    is_attached: bool


@dataclass(frozen=True, slots=True)
class CloudKey:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class JoinKey:
    """Lets one machine into the private network, once. `secret` is known when it is made, and never told again."""

    id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MachineWanted:
    order_id: str
    user_data: str = field(repr=False)
    key_id: str = ""
    volume_id: str | None = None


class Cloud(Protocol):
    name: str  # "digitalocean", "rehearsal"
    # After this long, a machine that nobody was told about shows in the list, or was never made.
    settles_within_seconds: int

    async def upload_key(self, order_id: str, public_key: str) -> CloudKey:
        """The key, found by what it is or uploaded under the order's name."""
        ...

    async def make_volume(self, order_id: str) -> Volume:
        """The volume of this order, found by its name or made. Of the size that the operator chose."""
        ...

    async def machines(self, order_id: str | None = None) -> list[Machine]:
        """Those of an order, the oldest first; without one, all that are ours."""
        ...

    async def machine(self, id: str) -> Machine | None:
        """None: there is no such machine any more."""
        ...

    async def disk_gb(self) -> int:
        """How large the disk is that holds the chain: the volume, where there is one. CloudRefused: no such machine is sold there."""
        ...

    async def make_machine(self, wanted: MachineWanted) -> Machine:
        """CloudDown: it may have been made. CloudBusy, CloudRefused: it was not."""
        ...

    async def stop_machine(self, id: str) -> None:
        """Its power off; what is on it stays. Safe to repeat."""
        ...

    async def destroy_machine(self, id: str) -> None:
        """Safe to repeat; one that is not there is destroyed."""
        ...

    async def volumes(self, order_id: str | None = None) -> list[Volume]: ...

    async def destroy_volume(self, id: str) -> None:
        """CloudBusy while a machine still holds it."""
        ...

    async def drop_key(self, order_id: str, public_key: str) -> None:
        """The key that was uploaded under this order's name; one that was there under another name stays."""
        ...

    async def make_join_key(self, order_id: str) -> JoinKey | None:
        """A new one; those that this order has already are removed: nobody knows what they are. None: there is no private network."""
        ...

    async def drop_join_keys(self, order_id: str) -> None: ...

    async def drop_devices(self, order_id: str) -> None:
        """What the private network still knows of this order's machines, which are gone. CloudRefused: we may not."""
        ...

    async def aclose(self) -> None: ...


def tag_of(order_id: str) -> str:
    return f"timmy-{order_id}"


def name_of(order_id: str) -> str:
    """As a host may be called: letters, digits and hyphens (RFC 1123, section 2.1)."""
    return tag_of(order_id).replace("_", "-")


def order_of_tags(tags: tuple[str, ...]) -> str | None:
    prefix = tag_of("")
    return next((tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix) and tag != NODE_TAG), None)
