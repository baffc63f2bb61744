"""What is sold here, and how it is metered."""

from __future__ import annotations

from dataclasses import dataclass

from timmy.sessions import Terms as SessionTerms

STEP_TOKENS = 256  # what is reserved first for an answer that streams and is seen as it is made; each further step is twice the last
STEP_TOKENS_MAX = 4_096
LEAST_TOKENS = 16  # a call that could not answer with so much is not begun
PROMPT_TOKENS_MAX = 100_000  # see pricing/book.py: for longer prompts, some providers have other prices


@dataclass(frozen=True, slots=True)
class Terms:
    """`sessions`: a call is priced, shared with the pool and learned from as a session's requests are."""

    sessions: SessionTerms
    models: tuple[str, ...]
