"""Builds the pages into the package when they are missing or stale (hatchling's build hook).

Node comes from the machine, or, where there is none that is new enough, from the package index: this hook asks for it only then. In a
checkout whose built pages are fresh, and in a source distribution, nothing is downloaded and nothing is run.
`TIMMY_WEB=skip` leaves the pages as they are, `TIMMY_WEB=require` lets an installation fail rather than go without them.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def _building(root: Path) -> ModuleType:
    """The module that builds, read from its file: the package cannot be imported before it is installed."""
    spec = importlib.util.spec_from_file_location("timmy_pages", root / "src" / "timmy" / "web" / "building.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Pages(BuildHookInterface):  # type: ignore[type-arg, misc, unused-ignore]
    PLUGIN_NAME = "custom"

    def _wanted(self) -> bool:
        building = _building(Path(self.root))
        return os.environ.get("TIMMY_WEB") != "skip" and not building.is_fresh(building.sources(Path(self.root)))

    def dependencies(self) -> list[str]:
        """Asked before the build: what it needs beside hatchling."""
        building = _building(Path(self.root))
        return [building.NODE_FROM_THE_INDEX] if self._wanted() and not building.has_node() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build_data["artifacts"].append("src/timmy/web/dist")
        if not self._wanted():
            return
        building = _building(Path(self.root))
        try:
            building.build(building.sources(Path(self.root)))
        except building.PagesNotBuilt as trouble:
            if os.environ.get("TIMMY_WEB") == "require":
                raise
            # Installers hide this; the server says so as well when it starts, and `timmy web build` tries again.
            self.app.display_warning(f"The pages were not built. {trouble}")
