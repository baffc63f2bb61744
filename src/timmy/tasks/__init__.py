"""What is to be done, and by whom it is being done.

This room promises that a task is written in the transaction that makes it necessary, is worked on by one claimant at a time, is deleted
only in the transaction that records its outcome, and that a claimant who was paused past its lease writes nothing. A task that keeps
failing is parked and shown to the operator, never dropped.
"""

from timmy.tasks.bell import Bell
from timmy.tasks.book import NewTask, Task, add, cross_off, finish, held, parked, unpark, waiting
from timmy.tasks.worker import AskAgainLater, Worker

__all__ = ["AskAgainLater", "Bell", "NewTask", "Task", "Worker", "add", "cross_off", "finish", "held", "parked", "unpark", "waiting"]
