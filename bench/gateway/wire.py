"""What is asked and answered, the same for everybody. Only the standard library: rivals import it in a venv of their own."""

from __future__ import annotations

AT_ONCE = "at-once"  # the model that answers at once
HELD = "held"  # the model that says one word, and then nothing until its reader hangs up
PROMPT = "Say it."
PROMPT_TOKENS, ANSWER_TOKENS = 10, 10
WORD = " meter"  # one token; streams repeat it
STREAM_TOKENS = 50
LIMIT = 256  # max_tokens of each call

# What a call costs, in all designs, at $100,000 a coin: one millisat is $0.000001.
RATES = {"input": "5.00", "output": "10.00"}  # dollars per million tokens, so 5 and 10 msat a token
MARGIN_PCT = 40
FIXED_MSAT = 1_000  # $10 a month for the machine, over ten thousand calls


def charge_msat(output_tokens: int) -> int:
    """Exactly. All figures are such that nothing is rounded."""
    return (FIXED_MSAT + 5 * PROMPT_TOKENS + 10 * output_tokens) * (100 + MARGIN_PCT) // 100
