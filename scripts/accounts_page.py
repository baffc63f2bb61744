"""Write docs/reference/accounts.md: the chart of accounts and the codes of transfers, from timmy/ledger/chart.py and its comments.

With --check nothing is written, and a page that is not what it would be is an error.
"""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path

from timmy.ledger import chart

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "accounts.md"

HEAD = """# Accounts and codes

Whoever holds a balance, holds it here: jobs, sessions, the pool and refunds are accounts of one ledger, counted in millisats. A transfer
takes an amount from its debit account and gives it to its credit account, once, and says why by a code. Nothing is ever changed or
deleted; a correction is another transfer. All accounts together sum to zero, so `lightning` is minus what the node holds for all others.

An account that is *guarded* can never give what it does not have: the code refuses it, and so does the database. `timmy ledger verify`
recomputes every balance from the transfers.

This page is made by `scripts/accounts_page.py` from `src/timmy/ledger/chart.py`; edit that.
"""


def said(source: list[str], node: ast.stmt) -> str:
    """The comment at the end of a line: it is the page's text, so there must be one."""
    code, mark, comment = source[node.lineno - 1].partition("  # ")
    if not mark:
        raise SystemExit(f"{code.strip()} in chart.py has no comment that says what it is")
    return comment.strip()


def accounts(source: list[str], tree: ast.Module) -> list[str]:
    """One row for each named account, and one for each kind that has a name behind a slash."""
    rows = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            name, what = node.value.value, said(source, node)
        elif isinstance(node, ast.FunctionDef) and isinstance(node.body[-1], ast.Return) and isinstance(node.body[-1].value, ast.JoinedStr):
            name = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.body[-1].value.values)
            what = (ast.get_docstring(node) or "").rstrip(".")
        else:
            continue
        rows.append(f"| `{name}` | {what[:1].lower() + what[1:]} | {'guarded' if chart.is_guarded(name) else 'may go below zero'} |")
    return rows


def codes(source: list[str], tree: ast.Module) -> list[str]:
    (enumeration,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == chart.Code.__name__]
    members = [node for node in enumeration.body if isinstance(node, ast.Assign)]
    return [f"| `{ast.literal_eval(member.value)}` | {said(source, member)} |" for member in members]


def render() -> str:
    text = inspect.getsource(chart)
    source, tree = text.splitlines(), ast.parse(text)
    lines = [HEAD, "## Accounts\n", "| account | what it holds | |", "|---|---|---|", *accounts(source, tree), ""]
    lines += ["## Codes\n", "| code | why an amount moved |", "|---|---|", *codes(source, tree), ""]
    return "\n".join(lines)


def main() -> None:
    page = render()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != page:
        raise SystemExit(f"{PAGE.relative_to(ROOT)} is not up to date: ./run docs writes it")


if __name__ == "__main__":
    main()
