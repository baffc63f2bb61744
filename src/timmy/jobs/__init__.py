"""Work sold by the piece: pay to have a request judged, then pay to have it done.

This room promises that every paid job ends delivered, refunded or credited, whatever dies in between; that a customer is charged what
the work really cost and never more than was asked, and gets back the rest; and that each transition happens once, whoever asks and
however often, on however many processes.
"""

from timmy.jobs.desk import JobNotFound, Jobs
from timmy.jobs.estimate import Estimates
from timmy.jobs.flow import Rules, on_lapsed, on_paid
from timmy.jobs.model import JobNews, JobView, State
from timmy.jobs.protocol import JobsDesk
from timmy.jobs.work import Terms, Workshop

__all__ = [
    "Estimates", "JobNews", "JobNotFound", "JobView", "Jobs", "JobsDesk", "Rules", "State", "Terms", "Workshop", "on_lapsed", "on_paid",
]  # fmt: skip
