"""One payment, one Bitcoin node: a machine is ordered at a cloud, prepared, and handed over with its key.

This room promises that a paid order ends in one node that answers, or in its fee owed back and nothing left billing; that however many look
on, or die, one machine is made; and that a private key is sealed while it lies here, handed over once, and then cannot be read by anybody.
"""

from timmy.bootstrap.call_home import OrderTokens
from timmy.bootstrap.clean_up import CleanUp
from timmy.bootstrap.cloud import Cloud
from timmy.bootstrap.desk import Bootstraps
from timmy.bootstrap.keys import KeyRoom
from timmy.bootstrap.model import BootstrapView, State
from timmy.bootstrap.node_plan import Network
from timmy.bootstrap.protocol import BootstrapDesk
from timmy.bootstrap.provision import Provisioner, Terms

__all__ = [
    "BootstrapDesk", "BootstrapView", "Bootstraps", "CleanUp", "Cloud", "KeyRoom", "Network", "OrderTokens", "Provisioner", "State",
    "Terms",
]  # fmt: skip
