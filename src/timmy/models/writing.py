"""An answer as it is being written: its text, its reasoning, why it ended, what the provider says it cost."""

from __future__ import annotations

from timmy.models.protocol import Completion, Finish, Prompt
from timmy.models.text import Pieces
from timmy.models.usage import Reported, sane

# A server that ignores our limit is stopped when no tokenizer could still call it within the limit.
CHARS_PER_TOKEN_MAX = 32
CHARS_SLACK = 4_096


class Answer:
    """Fed by an adapter, piece by piece; `completion()` is the end of it."""

    def __init__(self, prompt: Prompt, max_output_tokens: int) -> None:
        self._prompt = prompt
        self._limit = max_output_tokens
        self._shown = Pieces()
        self._thought = Pieces()
        self.finish: Finish | None = None
        self.reported: Reported | None = None

    def write(self, text: str) -> str:
        """What of `text` can be shown now; may be empty."""
        return self._shown.add(text)

    def think(self, text: str) -> None:
        """Reasoning: paid for, and no part of the answer."""
        self._thought.add(text)

    def rest(self) -> str:
        """What can only be shown now that nothing follows it; may be empty."""
        return self._shown.end()

    def is_over_the_limit(self) -> bool:
        """True, and the end is LENGTH, once the provider has gone far beyond the limit that it was given."""
        over = self._shown.chars + self._thought.chars > self._limit * CHARS_PER_TOKEN_MAX + CHARS_SLACK
        if over:
            self.finish = Finish.LENGTH
        return over

    def completion(self) -> Completion:
        self._shown.end()
        text = self._shown.whole()
        usage = sane(self.reported, self._prompt, text, max_output_tokens=self._limit, hidden=self._thought.whole())
        return Completion(text=text, usage=usage, finish=self.finish or Finish.STOP)
