"""The shapes of the world and of a demonstration, for the OpenAPI document."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from timmy.web.schemas_people import Pool
from timmy.web.shapes import Body, NotNegative, Shape
from timmy.world import shapes


class WorldState(shapes.WorldState):
    """All of the world, as the first message of the WebSocket has it too."""

    pool: Pool  # type: ignore[assignment]  # the whole of it, where the room below knows only what it tells


class DemoWanted(Body):
    request: str = Field(
        pattern=r"\S", min_length=1, max_length=500, description="What should be done. The limit is the server's MAX_REQUEST_CHARS."
    )


class Demo(Shape):
    state: Literal["complete", "rejected"]
    request: str
    result: str | None = Field(description="The answer; null if it was rejected.")
    reason: str | None = Field(description="Why it was rejected.")
    truncated: bool = Field(description="The answer was cut: a free one is short.")
    left: NotNegative = Field(description="How many free answers your address has left until X-RateLimit-Reset.")


ALL: tuple[type[BaseModel], ...] = (WorldState, DemoWanted, Demo)
