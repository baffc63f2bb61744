"""A cloud that is not there: DigitalOcean's and Tailscale's HTTP APIs, as far as a node needs them, and machines that only call home.

It is spoken to by the same adapters over real HTTP, takes its time, limits rates, paginates, refuses what the real ones refuse, and fails
when it is told to. Nothing is rented and nobody pays; whoever is shown one of its machines is told that it is a rehearsal.
"""

from timmy.bootstrap.rehearsal.faults import Fault
from timmy.bootstrap.rehearsal.server import Pace, RehearsalCloud
from timmy.bootstrap.rehearsal.shelf import Shelf

__all__ = ["Fault", "Pace", "RehearsalCloud", "Shelf"]
