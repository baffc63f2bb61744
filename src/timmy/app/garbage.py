"""How often Python looks for reference cycles: ours are rare, and looking at every 700 objects is a quarter of a job's processor time."""

from __future__ import annotations

import gc

THRESHOLDS = (50_000, 20, 20)  # new objects before a look at the young ones; looks before one at the older; and at the oldest


def look_for_it_rarely() -> None:
    """Once, when everything that lives as long as the process has been made: that is set aside for good, and is never looked at again.

    Cycles are still found, later: a few megabytes more are in use meanwhile."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
