"""What status.sh has asked, put in order: `status.py text|json`, six NUL-separated answers on standard input."""

from __future__ import annotations

import json
import sys
from typing import Any


def read(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def sats(balance: Any) -> int:
    return int(balance.get("sat", 0)) if isinstance(balance, dict) else 0


def document(network: str, running: str, chain: str, node: str, channels: str, health: str) -> dict[str, Any]:
    up, bitcoin, lnd, balance = running.split(), read(chain), read(node), read(channels)
    blocks, headers = bitcoin.get("blocks"), bitcoin.get("headers")
    problems = []
    for name, answer in (("bitcoind", bitcoin), ("lnd", lnd)):
        if name not in up:
            problems.append(f"{name} does not run: start.sh")
        elif not answer:
            problems.append(f"{name} runs and does not answer: look into its log")
    if "lnbits" not in up:
        problems.append("lnbits does not run: start.sh")
    elif not health:
        problems.append("lnbits runs and does not answer: look into its log")
    if bitcoin.get("initialblockdownload"):
        problems.append(f"Bitcoin is still reading the chain: {blocks} of {headers} blocks")
    if lnd and not lnd.get("synced_to_chain"):
        problems.append("LND has not caught up with the chain yet: no payment works before")
    if lnd and lnd.get("synced_to_chain") and not lnd.get("num_active_channels"):
        problems.append("LND has no active channel: open one, or no payment arrives")
    return {
        "network": network,
        "healthy": not problems,
        "bitcoind": {
            "running": "bitcoind" in up,
            "answers": bool(bitcoin),
            "blocks": blocks,
            "headers": headers,
            "pruned": bitcoin.get("pruned"),
        },
        "lnd": {
            "running": "lnd" in up,
            "answers": bool(lnd),
            "version": lnd.get("version"),
            "syncedToChain": lnd.get("synced_to_chain"),
            "activeChannels": lnd.get("num_active_channels"),
            "canSendSats": sats(balance.get("local_balance")) if balance else None,
            "canReceiveSats": sats(balance.get("remote_balance")) if balance else None,
        },
        "lnbits": {"running": "lnbits" in up, "answers": bool(health)},
        "problems": problems,
    }


def main() -> int:
    told = document(*sys.stdin.read().split("\0"))
    if sys.argv[1] == "json":
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        for name in ("bitcoind", "lnd", "lnbits"):
            part = told[name]
            state = "answers" if part["answers"] else "runs" if part["running"] else "stopped"
            rest = ", ".join(f"{key} {value}" for key, value in part.items() if key not in ("running", "answers") and value is not None)
            sys.stdout.write(f"{name:<9} {state:<8} {rest}".rstrip() + "\n")
        for problem in told["problems"]:
            sys.stdout.write(f"! {problem}\n")
    return 0 if all(told[name]["answers"] for name in ("bitcoind", "lnd", "lnbits")) else 1


if __name__ == "__main__":
    sys.exit(main())
