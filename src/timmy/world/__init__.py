"""What visitors see of the house, and what they say in it.

This room promises that what is shown really happens: five agents whose states are read off the work under way, and a list of what
everybody may know of it, in which no id, payment hash, key, address or customer's word ever stands. All processes on one database show the
same, what is said here survives a restart, nobody waits for the slowest reader, and a world that nobody watches asks nobody anything.
What a model says here is free, so it is short, and counted.
"""

from timmy.world.agents import UnderWay
from timmy.world.crowd import Line, Viewer
from timmy.world.free_words import FreeWords
from timmy.world.terms import Terms
from timmy.world.world import World

__all__ = ["FreeWords", "Line", "Terms", "UnderWay", "Viewer", "World"]
