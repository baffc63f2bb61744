"""The generosity pool: a part of what is earned, given back as free work.

This room promises that not a sat is given that the pool did not hold; that nobody gets more in a day than their tier allows, however
many ask at once; that what was reserved and not used returns to the pool and to the day; and that every gift is a row that anyone can
add up.
"""

from timmy.generosity.model import Decision, Free, Gate, Gift, Partial, Terms, day_of
from timmy.generosity.pool import Ask, decide_all, preview, reserve_up_to
from timmy.generosity.status import audit

__all__ = [
    "Ask", "Decision", "Free", "Gate", "Gift", "Partial", "Terms", "audit", "day_of", "decide_all", "preview", "reserve_up_to",
]  # fmt: skip
