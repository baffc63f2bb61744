"""How many tokens a request will take, before any model has seen it.

Two numbers for the input, because two questions are asked. `estimate_tokens` says what is likely, on the high side: what a customer may
expect to be billed. `most_input_tokens` is what work is priced and bounded with: no text can take more. Both are counted here,
from the text alone; no model is asked, so no text can talk its price down.

The output is guessed from what kind of answer is asked for:

    a stated length   "in 300 words"                                    3 tokens for every 2 words, and a few for the frame
    long     2,048    an essay, a story, a program, … or more than 280 characters of request
    brief      256    at most 80 characters, and nothing of the above
    ordinary   768    everything else

The class sets the price, never the honesty: what is not used goes back, and what would go beyond the payment is cut off.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

FRAME_TOKENS = 16  # roles and separators that providers add to one turn
BRIEF_TOKENS, ORDINARY_TOKENS, LONG_TOKENS = 256, 768, 2_048
BRIEF_CHARS_MAX, ORDINARY_CHARS_MAX = 80, 280
STATED_TOKENS_MIN = 64
ASCII_WORD = re.compile(r"[A-Za-z ]")

STATED_WORDS = re.compile(r"\b([1-9][0-9]{0,5}|[1-9][0-9]{0,2},[0-9]{3})[ -]words?\b", re.IGNORECASE)
LONG_WORK = re.compile(
    r"\b(essay|story|stories|article|report|poem|tutorial|guide|chapter|letter|speech|plan|script|program|function|class|code|implement"
    r"|implementation|refactor|translate|translation|in detail|detailed|step by step|thorough|comprehensive|list of|table of|compare)\b",
    re.IGNORECASE,
)


class TokenEstimate(NamedTuple):
    input: int
    output: int


def estimate_tokens(request: str, *, system: str = "", max_output_tokens: int) -> TokenEstimate:
    """Input (with what the model is told to be) and output, at most `max_output_tokens`."""
    wanted = _answer_tokens(request)
    return TokenEstimate(FRAME_TOKENS + _likely(system) + _likely(request), min(wanted, max_output_tokens))


def most_input_tokens(*texts: str) -> int:
    """No tokenizer that works on bytes (all that Timmy knows of do) makes more tokens of a text than it has bytes in UTF-8."""
    return FRAME_TOKENS + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


@lru_cache(maxsize=256)  # what the model is told to be is the same each time
def _likely(text: str) -> int:
    """Three letters to a token (English has four to five), one token for any other ASCII character, half its bytes for the rest."""
    words = len(ASCII_WORD.findall(text))
    ascii_rest = sum(char.isascii() for char in text) - words
    other_bytes = len(text.encode("utf-8", "surrogatepass")) - words - ascii_rest
    return -(-words // 3) + ascii_rest + -(-other_bytes // 2)


def _answer_tokens(request: str) -> int:
    if stated := STATED_WORDS.search(request):
        words = int(stated.group(1).replace(",", ""))
        return max(STATED_TOKENS_MIN, -(-words * 3 // 2) + STATED_TOKENS_MIN)
    if LONG_WORK.search(request) or len(request) > ORDINARY_CHARS_MAX:
        return LONG_TOKENS
    return BRIEF_TOKENS if len(request) <= BRIEF_CHARS_MAX else ORDINARY_TOKENS
