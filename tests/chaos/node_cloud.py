"""A cloud in memory, in virtual time, with a point at which the server can die before and after each thing that it does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.chaos.node_endings import NodeEnding
from tests.chaos.world import World
from timmy.bootstrap.cloud import (
    NODE_TAG,
    CloudBusy,
    CloudDown,
    CloudKey,
    CloudRefused,
    JoinKey,
    Machine,
    MachineWanted,
    Status,
    Volume,
    name_of,
    tag_of,
)
from timmy.bootstrap.rehearsal.machines import settings_in
from timmy.clock import SECOND_MS

BOOT_MS = 20 * SECOND_MS
LATE_MS = 90 * SECOND_MS
SETTLES_SECONDS = 120


@dataclass(slots=True)
class Made:
    order_id: str
    made_at_ms: int
    shows_at_ms: int
    wanted: MachineWanted


@dataclass(slots=True)
class Sky:
    """What there is at the cloud. It lives on when the server dies."""

    ending: NodeEnding
    world: World
    machines: dict[str, Made] = field(default_factory=dict)
    volumes: dict[str, str] = field(default_factory=dict)  # id → name
    keys: dict[str, CloudKey] = field(default_factory=dict)  # public key → key
    join_keys: dict[str, tuple[str, str]] = field(default_factory=dict)  # id → order, secret
    created: int = 0  # how often a machine was asked for
    made: int = 0  # how many there ever were
    calls: int = 0
    next: int = 0
    vanished: bool = False

    def id(self) -> str:
        self.next += 1
        return str(self.next)


class PlayedCloud:
    """The `Cloud` of these tests."""

    name = "digitalocean"
    settles_within_seconds = SETTLES_SECONDS

    def __init__(self, sky: Sky) -> None:
        self.sky = sky

    async def aclose(self) -> None: ...

    def _begin(self, what: str) -> None:
        self.sky.world.points(f"before {what}")
        self.sky.calls += 1
        down = self.sky.ending.down_calls
        if self.sky.calls <= abs(down):
            raise CloudDown("The cloud did not answer.")

    def _end(self, what: str) -> None:
        self.sky.world.points(f"after {what}")

    async def upload_key(self, order_id: str, public_key: str) -> CloudKey:
        self._begin("upload_key")
        key = self.sky.keys.setdefault(public_key, CloudKey(self.sky.id(), tag_of(order_id)))
        self._end("upload_key")
        return key

    async def drop_key(self, order_id: str, public_key: str) -> None:
        self._begin("drop_key")
        if public_key in self.sky.keys and self.sky.keys[public_key].name == tag_of(order_id):
            del self.sky.keys[public_key]
        self._end("drop_key")

    async def make_volume(self, order_id: str) -> Volume:
        self._begin("make_volume")
        found = [id for id, name in self.sky.volumes.items() if name == name_of(order_id)]
        if not found:
            found = [self.sky.id()]
            self.sky.volumes[found[0]] = name_of(order_id)
        self._end("make_volume")
        return Volume(found[0], name_of(order_id), False)

    async def volumes(self, order_id: str | None = None) -> list[Volume]:
        self._begin("volumes")
        return [Volume(id, name, False) for id, name in self.sky.volumes.items() if order_id is None or name == name_of(order_id)]

    async def destroy_volume(self, id: str) -> None:
        self._begin("destroy_volume")
        if any(made.wanted.volume_id == id for made in self.sky.machines.values()):
            raise CloudBusy("It is attached.")
        self.sky.volumes.pop(id, None)
        self._end("destroy_volume")

    async def disk_gb(self) -> int:
        return 80

    async def machines(self, order_id: str | None = None) -> list[Machine]:
        self._begin("machines")
        now_ms = self.sky.world.clock.now_ms()
        there = [(id, made) for id, made in self.sky.machines.items() if made.shows_at_ms <= now_ms]
        return [self._shown(id, made) for id, made in there if order_id in (None, made.order_id)]

    async def machine(self, id: str) -> Machine | None:
        self._begin("machine")
        sky = self.sky
        found = sky.machines.get(id)
        if found is not None and sky.ending.vanishes and sky.world.clock.now_ms() > found.made_at_ms + BOOT_MS:
            del sky.machines[id]
            return None
        return self._shown(id, found) if found else None

    def _shown(self, id: str, made: Made) -> Machine:
        is_up = self.sky.ending.boots and self.sky.world.clock.now_ms() >= made.made_at_ms + BOOT_MS
        status = Status.ACTIVE if is_up else Status.NEW
        return Machine(id, status, f"203.0.113.{id}" if is_up else None, (tag_of(made.order_id), NODE_TAG))

    async def make_machine(self, wanted: MachineWanted) -> Machine:
        self._begin("make_machine")
        sky = self.sky
        assert wanted.key_id in {key.id for key in sky.keys.values()}
        assert wanted.volume_id is None or wanted.volume_id in sky.volumes
        sky.created += 1
        create = sky.ending.create if sky.created == 1 or sky.ending.create == "refused" else "made"
        if create == "refused":
            raise CloudRefused("Size is not available in this region.")
        if create == "busy":
            raise CloudBusy("Too many requests.", 3.0)
        if create == "unmade":
            raise CloudDown("The cloud did not answer.")
        now_ms = sky.world.clock.now_ms()
        id = sky.id()
        sky.machines[id] = Made(wanted.order_id, now_ms, now_ms + (LATE_MS if create == "late" else 0), wanted)
        sky.made += 1
        if create in ("lost", "late"):
            raise CloudDown("The cloud did not answer.")
        self._end("make_machine")
        return self._shown(id, sky.machines[id])

    async def stop_machine(self, id: str) -> None:
        raise AssertionError("nobody stops a machine here")

    async def destroy_machine(self, id: str) -> None:
        self._begin("destroy_machine")
        if self.sky.ending.destroy_down:
            self.sky.ending = replace(self.sky.ending, destroy_down=self.sky.ending.destroy_down - 1)
            raise CloudDown("The cloud did not answer.")
        self.sky.machines.pop(id, None)
        self._end("destroy_machine")

    async def make_join_key(self, order_id: str) -> JoinKey | None:
        await self.drop_join_keys(order_id)
        self._begin("make_join_key")
        key = JoinKey(self.sky.id(), f"tskey-auth-{self.sky.next}")
        self.sky.join_keys[key.id] = (order_id, key.secret)
        self._end("make_join_key")
        return key

    async def drop_join_keys(self, order_id: str) -> None:
        self._begin("drop_join_keys")
        for id in [id for id, (order, _) in self.sky.join_keys.items() if order == order_id]:
            del self.sky.join_keys[id]
        self._end("drop_join_keys")

    async def drop_devices(self, order_id: str) -> None:
        self._begin("drop_devices")
        self._end("drop_devices")

    def calling(self) -> list[tuple[str, str, str]]:
        """The machines that are up and want to call home: order, token, and the join key that they were given."""
        now_ms = self.sky.world.clock.now_ms()
        up = [made for made in self.sky.machines.values() if self.sky.ending.boots and now_ms >= made.made_at_ms + BOOT_MS]
        given = [
            (made.order_id, settings_in(made.wanted.user_data)) for made in up if self.sky.ending.calls and not self.sky.ending.vanishes
        ]
        return [(order_id, words["NODE_CALL_HOME_TOKEN"], words["NODE_TAILSCALE_KEY"]) for order_id, words in given]
