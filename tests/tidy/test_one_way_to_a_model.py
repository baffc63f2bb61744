"""What costs money is called from one place, where it was paid for."""

from __future__ import annotations

import ast

import pytest
from tests.tidy.tree import PACKAGE, house, parsed

# The work, within what was reserved for it, by the piece and from a session; conversations, whole and as they stream; the verdict, for a
# fee that was reserved; and what the house gives away, counted by address and by day.
CALLERS = {
    "jobs/work.py",
    "sessions/work.py",
    "completions/live.py",
    "completions/running.py",
    "models/evaluate.py",
    "world/free_words.py",
}


def calls_a_model(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("complete", "stream", "chat", "chat_stream")
        and "max_output_tokens" in {keyword.arg for keyword in node.keywords}
        for node in ast.walk(tree)
    )


@pytest.mark.fault("E20")
def test_there_is_one_way_to_a_model_and_it_is_metered() -> None:
    assert {path.relative_to(PACKAGE).as_posix() for path in house() if calls_a_model(parsed(path))} == CALLERS


def test_no_adapter_of_a_model_knows_of_money() -> None:
    """They translate and count tokens. One that could charge would be a second place to look for what was charged."""
    imports = {
        (path.name, node.module)
        for path in house()
        if path.relative_to(PACKAGE).parts[0] == "models"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.module in ("timmy.money", "timmy.ledger", "timmy.pricing")
    }
    assert imports == set()
