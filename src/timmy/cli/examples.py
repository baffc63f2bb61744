"""What is shown under `--help`: each command as it is typed. tests/unit/test_cli_help.py looks that these can be parsed."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "ask": (
        'timmy ask "What is a satoshi?" --price',
        'timmy ask "What is a satoshi?" --server https://timmy.example.com > answer.txt',
        "git diff | timmy ask - --most 50",
        "timmy ask --resume",
        "timmy ask --claim job_4o2x --refund-to me@wallet.example",
    ),
    "limits": ("timmy limits", "timmy limits --per-call 100 --per-day 1000"),
    "session open": ("timmy session open 500", "timmy session open 500 --wallet dev"),
    "session ask": ('timmy session ask "What is a satoshi?"',),
    "session status": ("timmy session status", "export OPENAI_API_KEY=$(timmy session status --key)"),
    "session topup": ("timmy session topup 200",),
    "session close": ("timmy session close --to me@wallet.example",),
    "session attenuate": (
        "timmy session attenuate --most 50 --for 24h --can chat",
        "timmy session attenuate --per-request 5 --only /v1/chat/completions",
    ),
    "session list": ("timmy session list --all",),
    "receipt list": ("timmy receipt list",),
    "receipt show": ("timmy receipt show job_4o2x > receipt.json",),
    "receipt verify": ('timmy receipt verify receipt.json --server https://timmy.example.com --prompt "What is a satoshi?"',),
    "proxy": ("timmy proxy --per-day 200", "timmy proxy --per-day 0 --in-all 1000 --per-request 20 --port 9000"),
    "login": ("timmy login", "timmy login --import", "timmy login --key-only"),
    "serve": ("timmy serve", "DATA_DIR=/srv/timmy WALLET=lnbits timmy serve"),
}


def epilog(name: str) -> str | None:
    """As typer prints it: a paragraph is a line."""
    lines = EXAMPLES.get(name)
    return "\n\n".join(("Examples:", *lines)) if lines else None
