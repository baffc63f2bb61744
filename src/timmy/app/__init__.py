"""The hallway: the only place that knows concrete classes, and where the rooms are introduced to each other.

async with build(settings) as app:
    ...                                # everything runs: HTTP is in app.web, the background work goes on
"""

from timmy.app.house import App, build

__all__ = ["App", "build"]
