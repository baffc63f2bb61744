"""The world and free answers in memory, small but honest: what the house of http_desk.py shows its visitors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from timmy.clock import ManualClock, iso
from timmy.web.examples_world import STATE
from timmy.world import Viewer
from timmy.world.crowd import Crowd
from timmy.world.demo import Answer, DemoUsedUp
from timmy.world.frames import frame
from timmy.world.talk import Talk
from timmy.world.uses import HOUR_MS, Right, Use


@dataclass
class Sights:
    """`WorldDesk`, of a world in which nothing happens."""

    clock: ManualClock
    crowd: Crowd = field(init=False)
    talk: Talk = field(init=False)

    def __post_init__(self) -> None:
        self.crowd = Crowd(self.clock, viewers_max=10, per_address_max=5)
        self.talk = cast(Talk, Deaf())

    async def state(self) -> Mapping[str, object]:
        return {**STATE, "at": iso(self.clock.now_ms())}

    async def join(self, viewer: Viewer) -> None:
        self.crowd.show(viewer, frame(await self.state()))

    def leave(self, viewer: Viewer) -> None:
        self.crowd.give_up(viewer)

    async def aclose(self) -> None: ...


class Deaf:
    def hear(self, viewer: Viewer, given: Any) -> None: ...


@dataclass
class Treats:
    """`DemoDesk`: five an hour, and the clock stands still."""

    clock: ManualClock
    per_address: Right = field(default_factory=lambda: Right("demo", HOUR_MS, 5))
    had: dict[str, int] = field(default_factory=dict)

    async def ask(self, request: str, address: str) -> Answer:
        had = self.had.get(address, 0)
        use = Use(had < self.per_address.most, max(0, self.per_address.most - had - 1), 0, self.clock.now_ms() + HOUR_MS)
        if not use.granted:
            raise DemoUsedUp("Wait an hour.", use=use, retry_after_seconds=3_600)
        self.had[address] = had + 1
        if "please reject this" in request:
            return Answer(None, "You asked for it.", False, use)
        return Answer("An answer.", None, False, use)
