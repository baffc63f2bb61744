"""Whether a model thinks where nobody sees it: output that is paid for, and of which only the provider's report at the end tells.

An answer whose tokens are all seen can be paid for step by step, and cut at any of them. One that is thought about unseen cannot: all that
it may come to has to be set aside before it begins, and only its end says what it came to.
"""

from __future__ import annotations

from enum import StrEnum


class Thinking(StrEnum):
    NEVER = "never"  # what is shown is all that there is
    PERHAPS = "perhaps"  # nothing is known of this model
    UNSEEN = "unseen"


NEVER_BEGIN = ("gpt-3.5", "gpt-4", "chatgpt-4o", "llama-3", "llama3", "claude-3", "claude-opus-4", "claude-sonnet-4", "claude-haiku-4")
UNSEEN_BEGIN = ("o1", "o3", "o4", "gpt-5", "gemini-2.5", "gemini-3", "grok-4")


def thinking_of(model: str) -> Thinking:
    """What its name says, whatever gateway's name stands before it. Claude thinks when it is asked to, and here it is not."""
    name = model.rpartition("/")[2].lower()
    if name.startswith(UNSEEN_BEGIN):
        return Thinking.UNSEEN
    return Thinking.NEVER if name.startswith(NEVER_BEGIN) else Thinking.PERHAPS
