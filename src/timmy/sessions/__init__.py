"""Prefunded work: a deposit, then a debit for each request.

This room promises that a request is held in full before it is worked on and charged what it really cost, never more than was held; that one
which fails costs nothing, whatever dies in between; that a session never spends what it does not have, however many ask at once; that a
narrowed key spends no more than it may; and that what is left is paid out once, and stays claimable however late.
"""

from timmy.sessions.audit import audit
from timmy.sessions.desk import Sessions
from timmy.sessions.flow import ON_LAPSED, ON_PAID
from timmy.sessions.protocol import Permit, RequestState, RequestView, SessionNews, SessionsDesk, SessionState, SessionView
from timmy.sessions.terms import Terms

__all__ = [
    "ON_LAPSED", "ON_PAID", "Permit", "RequestState", "RequestView", "SessionNews", "SessionState", "SessionView", "Sessions",
    "SessionsDesk", "Terms", "audit",
]  # fmt: skip
