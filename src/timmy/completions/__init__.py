"""Conversations by the call, for programs that speak OpenAI's API, paid for from a session while they stream.

This room promises that no token is handed over that is not reserved for; that a call is charged what was produced, never nothing when
something was and never the maximum, whoever breaks it off and whatever dies; that asking again is not paying again; and that what was
produced is kept for a day.
"""

from timmy.completions.audit import audit
from timmy.completions.desk import Completions
from timmy.completions.protocol import CompletionsDesk, CompletionView, Ending, KeyView, LiveCompletion, ModelView, Wanted
from timmy.completions.terms import Terms

__all__ = [
    "CompletionView", "Completions", "CompletionsDesk", "Ending", "KeyView", "LiveCompletion", "ModelView", "Terms", "Wanted", "audit",
]  # fmt: skip
