"""Other people's clients that are too large for the suite buy from a real server: LiteLLM, with nothing but another base URL and a
session's macaroon as its key, and mppx, which pays charges of the `Payment` scheme.

python scripts/foreign_clients.py            both
python scripts/foreign_clients.py litellm    only this one ("mppx" is the other)

Each is installed, once, into a folder of its own under bench/out: that needs a network, and npm for the second. Part of `./run heavy`; the
small ones, OpenAI's JavaScript SDK among them, are in tests/e2e.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.contract.completion_house import Talker  # noqa: E402
from tests.contract.test_openai_sdk import Shop  # noqa: E402
from tests.e2e import npm  # noqa: E402
from tests.e2e.serving import Site, serving  # noqa: E402
from tests.e2e.test_foreign_buyers import Purse, wallet  # noqa: E402

OUT = ROOT / "bench" / "out"
CLIENTS = ROOT / "scripts" / "clients"
LITELLM = "litellm==1.106.2"
MODEL = "timmy-demo"
PATIENCE_SECONDS = 240
DEPOSIT_SATS = 1_000
TEXT = "one two three four five."
REFUSED = {"unknown_model": "NotFoundError", "bad_key": "AuthenticationError", "bad_field": "BadRequestError"}


def litellm() -> list[str]:
    """The command that runs it."""
    folder = OUT / "clients-venv"
    python = folder / "bin" / "python"
    if _is_missing(folder, LITELLM):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        subprocess.run([*pip, LITELLM], check=True)
        (folder / "installed").write_text(LITELLM)
    return [str(python), str(CLIENTS / "litellm_client.py")]


def _is_missing(folder: Path, wanted: str) -> bool:
    stamp = folder / "installed"
    return not stamp.is_file() or stamp.read_text() != wanted


Client = Callable[[Mapping[str, str], str], Awaitable[dict[str, Any]]]
"""Runs with an environment and a home, and says what it has seen."""


async def with_litellm(environ: Mapping[str, str], home: str) -> dict[str, Any]:
    return await asyncio.to_thread(_run, litellm(), environ, home)


async def with_openai_js(environ: Mapping[str, str], home: str) -> dict[str, Any]:
    seen: dict[str, Any] = await npm.node("openai_client.mjs", environ=environ, home=Path(home))
    return seen


async def buy(client: Client) -> dict[str, Any]:
    """A server, a paid session, and the client with its key. Answers what the client has seen; what it paid is checked here."""
    agent = Talker()
    with tempfile.TemporaryDirectory() as folder:
        async with serving({"DATA_DIR": folder, "LOG_LEVEL": "error"}, provider=agent) as site:
            opened = await site.post("/api/sessions", {"amountSats": DEPOSIT_SATS}, status=201)
            await site.pay(opened["invoice"])
            session = await site.get(f"/api/sessions/{opened['sessionId']}")
            environ = {"BASE_URL": f"{site.url}/v1", "API_KEY": session["macaroon"], "MODEL": MODEL}
            seen = await client(environ, folder)
            await _check_paid(site, session["sessionId"], agent)
    return seen


async def buy_with_mppx() -> dict[str, Any]:
    """It has no key: it pays a charge for each call."""
    agent = Talker()
    with tempfile.TemporaryDirectory() as folder:
        async with serving({"DATA_DIR": folder, "LOG_LEVEL": "error"}, provider=agent) as site:
            purse = Purse(Shop(site, agent, {"sessionId": "", "macaroon": ""}))
            async with wallet(purse) as url:
                environ = {"BASE_URL": f"{site.url}/v1", "MODEL": MODEL, "WALLET": url}
                told = await npm.node("buyers.mjs", "mppx", environ=environ, home=Path(folder), packages=npm.MPPX)
            assert told["seen"] == [{"status": 200, "text": TEXT, "receipt": "success"}] * 2, told
            assert (purse.payments, agent.calls["chat"]) == (2, 2)
    seen: dict[str, Any] = told
    return seen


def _run(command: list[str], environ: Mapping[str, str], home: str) -> dict[str, Any]:
    whole = {"PATH": os.environ["PATH"], "HOME": home, "LITELLM_LOCAL_MODEL_COST_MAP": "True", **environ}
    done = subprocess.run(command, env=whole, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}:\n{done.stdout[-2_000:]}\n{done.stderr[-4_000:]}")
    seen: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return seen


async def _check_paid(site: Site, session_id: str, agent: Talker) -> None:
    """Three calls reached the model: whole, streamed, and the one that was asked for twice. They cost the same, and nothing else did."""
    session = await site.get(f"/api/sessions/{session_id}")
    spent = DEPOSIT_SATS * 1_000 - session["balanceMsat"]
    assert agent.calls["chat"] == 3, f"the model was asked {agent.calls['chat']} times"
    assert session["heldMsat"] == 0, session
    assert 0 < spent < 20_000, session


def check(seen: Mapping[str, Any]) -> None:
    for way in ("chat", "stream", "retry"):
        assert seen[way]["text"] == TEXT, (way, seen)
    assert seen["chat"]["completion_tokens"] == seen["stream"]["completion_tokens"] > 0, seen
    assert seen["retry"]["lost"] == 1, seen
    assert {MODEL, "timmy-demo-small"} <= {name.removeprefix("openai/") for name in seen["models"]}, seen
    assert {name: seen[name] for name in REFUSED} == REFUSED, seen


def main(names: list[str]) -> None:
    for name in names or ["litellm", "mppx"]:
        if name == "mppx":
            seen = asyncio.run(buy_with_mppx())
            sys.stdout.write(f"mppx: a charge paid for each call: {json.dumps(seen)}\n")
            continue
        seen = asyncio.run(buy(with_litellm))
        check(seen)
        sys.stdout.write(f"litellm: chat, stream, models, errors and a retry that paid once: {json.dumps(seen)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
