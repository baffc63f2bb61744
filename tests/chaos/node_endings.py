"""Every way in which an order of a node can end, what makes it end so, and what that costs whoever ordered it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.chaos.endings import ENDINGS, Ending, Pay, Pays, When
from timmy.bootstrap import State

AT_ONCE = Pays()


@dataclass(frozen=True, slots=True)
class NodeEnding:
    """`create`: what the cloud does when it is asked for a machine the first time. "lost": it makes it and does not say so; "late": the
    same, and it shows only after a while; "unmade": it does not say that it did not; "busy": it says that it did not, for now; "refused".
    """

    name: str
    state: State
    because: str
    costs_fee: bool = False
    create: str = "made"
    down_calls: int = 0  # so many calls of the cloud get no answer; below zero: none ever does
    boots: bool = True
    calls: bool = True
    vanishes: bool = False  # the cloud takes the machine away while it is being installed
    own_key: bool = False
    volume: bool = False
    destroy_down: int = 0  # so many times it cannot take anything away
    pays: Pays = AT_ONCE
    refund_to: bool = False
    payouts: tuple[Pay, ...] = (Pay(),)
    address_down: int = 0
    main: bool = False  # every point of it is tried in the short run too

    @property
    def of_the_world(self) -> Ending:
        """What the node and the customer's wallet do."""
        return replace(ENDINGS[0], name=self.name, payouts=self.payouts, address_down=self.address_down)


S = State
NODE_ENDINGS: tuple[NodeEnding, ...] = (
    NodeEnding("ready", S.READY, "the node answers", costs_fee=True, main=True),
    NodeEnding("ready_own_key", S.READY, "the node answers", costs_fee=True, own_key=True),
    NodeEnding("ready_volume", S.READY, "the node answers", costs_fee=True, volume=True),
    NodeEnding("ready_surplus", S.READY, "the node answers, and too much was paid", costs_fee=True, pays=Pays(tenths=25)),
    NodeEnding("ready_lost", S.READY, "the node answers", costs_fee=True, create="lost", main=True),
    NodeEnding("ready_late", S.READY, "the node answers", costs_fee=True, create="late"),
    NodeEnding("ready_unmade", S.READY, "the node answers", costs_fee=True, create="unmade"),
    NodeEnding("ready_busy", S.READY, "the node answers", costs_fee=True, create="busy"),
    NodeEnding("ready_down", S.READY, "the node answers", costs_fee=True, down_calls=6),
    NodeEnding("sold_out", S.FAILED, "the cloud has no such machine", create="refused", volume=True, main=True),
    NodeEnding("sold_out_to_address", S.FAILED, "the cloud has no such machine", create="refused", refund_to=True, address_down=2),
    NodeEnding("sold_out_surplus", S.FAILED, "the cloud has no such machine", create="refused", pays=Pays(tenths=15)),
    NodeEnding("sold_out_payout_fails", S.FAILED, "the cloud has no such machine", create="refused", payouts=(Pay(fails=True), Pay())),
    NodeEnding("cloud_down", S.FAILED, "the cloud did not answer for too long", down_calls=-40),
    NodeEnding("never_boots", S.FAILED, "the machine did not come up", boots=False, volume=True),
    NodeEnding("never_calls", S.FAILED, "the node did not answer", calls=False, destroy_down=3, main=True),
    NodeEnding("vanishes", S.FAILED, "the cloud took the machine away", vanishes=True, volume=True),
    NodeEnding("lost_never_calls", S.FAILED, "the node did not answer", create="lost", calls=False),
    NodeEnding("unpaid", S.EXPIRED, "nobody paid", pays=Pays(When.NEVER)),
    NodeEnding("paid_late", S.EXPIRED, "the fee was paid after it had expired", pays=Pays(When.LATE)),
    NodeEnding("paid_late_to_address", S.EXPIRED, "the fee was paid after it had expired", pays=Pays(When.LATE), refund_to=True),
    NodeEnding("paid_short", S.EXPIRED, "too little was paid", pays=Pays(tenths=9)),
)
