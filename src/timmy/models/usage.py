"""Tokens: our own count, and what we believe of a provider's.

**Our count** is a tokenizer of our own, simple enough to be explained in a sentence: up to five letters with the space before
them, up to three digits, a short run of white space, up to four repeats of one punctuation mark, or any single other character,
is a token. It is meant to count a little more than real tokenizers do, never much less (docs/how-to/models.md has the
figures), because an estimate that is too low is the operator's loss. Cutting a text after n tokens leaves a text of n tokens.

**What we believe.** Honest tokenizers differ: by language, by model, by the chat template a server wraps around the prompt. So a
report is only doubted when no honest tokenizer can explain it: not a whole number, negative, nothing at all for a text
that is there, or more than `HONEST_FACTOR` times our count and `HONEST_SLACK_TOKENS` on top. A doubted figure is replaced by our own
(for one that is too high: with `CAP_NUMERATOR / CAP_DENOMINATOR` of it), the usage is marked `estimated`, and a warning is logged.
Reports that are lower than our count are believed: they are what the provider will bill.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import structlog

from timmy.models.protocol import Prompt, Usage

TURN_TOKENS = 4  # what a chat template puts around each message
HONEST_FACTOR = 4
HONEST_SLACK_TOKENS = 256  # a server's own template or preamble may be longer than a short prompt
CAP_NUMERATOR, CAP_DENOMINATOR = 12, 10
TOKENS_MAX = 100_000_000  # beyond any model's context: a figure like this is nonsense whatever the text

# No lookahead and no anchors: a piece matches the same whatever follows it, which is why cutting between pieces is exact.
_PIECE = re.compile(r"[ ]?[A-Za-z]{1,5}|[ ]?[0-9]{1,3}|\r?\n|[ \t]{1,8}|([!-/:-@\[-`{-~])\1{0,3}|.", re.DOTALL)
_AT_ONCE_CHARS_MAX = 262_144  # of a text whose pieces may all be in memory at once, which counts them several times faster

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reported:
    """What a provider said, untouched: each may be anything that JSON can hold."""

    input: object = None
    output: object = None
    cached: object = None
    reasoning: object = None  # output tokens that were thought and not shown, as claimed


def pieces(text: str) -> Iterator[str]:
    """The tokens of a text, in order; joined they are the text again."""
    return (found.group() for found in _PIECE.finditer(text))


def count_tokens(text: str, most: int | None = None) -> int:
    """How many tokens `text` is by our own count. Where it is more than `most`, `most + 1`: counting has gone no further."""
    if len(text) > _AT_ONCE_CHARS_MAX:
        return sum(1 for _ in islice(_PIECE.finditer(text), None if most is None else most + 1))
    count = len(_PIECE.findall(text))
    return count if most is None or count <= most else most + 1


def count_prompt(prompt: Prompt) -> int:
    """The input tokens of a whole prompt by our own count, `TURN_TOKENS` for each message included."""
    texts = [text for text in (prompt.system, *(turn.text for turn in prompt.earlier), prompt.user) if text]
    return sum(count_tokens(text) + TURN_TOKENS for text in texts)


def estimated(prompt: Prompt, text: str) -> Usage:
    """Our own count of a call: for a stream that broke off, or a provider that reports nothing."""
    return Usage(input=count_prompt(prompt), output=count_tokens(text), estimated=True)


def sane(reported: Reported | None, prompt: Prompt, text: str, *, max_output_tokens: int, hidden: str = "") -> Usage:
    """The usage to go by: the provider's where it can be true, ours where it cannot.

    `hidden` is reasoning that was streamed to us and is not part of the answer. Claimed reasoning is believed up to the limit
    that we set, because providers enforce that limit over both.
    """
    return sane_beside(reported, estimated(prompt, text), max_output_tokens=max_output_tokens, hidden=hidden)


def sane_beside(reported: Reported | None, ours: Usage, *, max_output_tokens: int, hidden: str = "") -> Usage:
    """The same, where our own count has been made already."""
    if reported is None:
        return ours
    thought = claimed_reasoning(reported)
    seen = count_tokens(hidden) if hidden else 0
    said_input, said_output = _whole(reported.input), _whole(reported.output)
    input_tokens = _believed(said_input, ours.input)
    output_tokens = _believed(said_output, ours.output, seen=seen, claimed=min(thought, max_output_tokens))
    doubted = (input_tokens, output_tokens) != (said_input, said_output)
    if doubted:
        log.warning("models.usage_doubted", said_input=said_input, said_output=said_output, our_input=ours.input, our_output=ours.output)
    cached = _whole(reported.cached) or 0
    return Usage(
        input=input_tokens,
        output=output_tokens,
        # More from the cache than there was input is no reason to charge less for the input.
        cached=cached if cached <= input_tokens else 0,
        estimated=doubted,
    )


def claimed_reasoning(reported: Reported | None) -> int:
    """How many tokens were thought, as the provider says; 0 where it does not say."""
    return 0 if reported is None else _whole(reported.reasoning) or 0


def _believed(said: int | None, ours: int, *, seen: int = 0, claimed: int = 0) -> int:
    """`said` where our count of the text, the reasoning that we saw and the reasoning that is claimed can explain it."""
    if said is None or (said == 0 and ours + seen > 0):
        return ours + seen
    unseen = max(seen, claimed)
    if said - unseen <= ours * HONEST_FACTOR + HONEST_SLACK_TOKENS:
        return said
    return min(said, -(-ours * CAP_NUMERATOR // CAP_DENOMINATOR) + unseen)


def _whole(value: object) -> int | None:
    """`value` if it is a possible count. A bool is not a number, and 12.0 was written by something that does not count."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= TOKENS_MAX else None
