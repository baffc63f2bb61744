"""LiteLLM and OpenAI's JavaScript SDK buy from a real server, with nothing but another base URL and a session's macaroon as their key.

python scripts/foreign_clients.py            both
python scripts/foreign_clients.py litellm    only this one ("openai-js" is the other)

Each is installed, once, into a folder of its own under bench/out: that needs a network, and npm for the second. Part of `./run heavy`.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.contract.completion_house import Talker  # noqa: E402
from tests.e2e.serving import Site, serving  # noqa: E402

OUT = ROOT / "bench" / "out"
CLIENTS = ROOT / "scripts" / "clients"
LITELLM = "litellm==1.106.2"
OPENAI_JS = "openai@7.57.0"
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


def openai_js() -> list[str]:
    folder = OUT / "clients-js"
    script = folder / "openai_client.mjs"
    if _is_missing(folder, OPENAI_JS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text('{"private": true}')
        npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
        subprocess.run([*npm, OPENAI_JS], check=True)
        (folder / "installed").write_text(OPENAI_JS)
    shutil.copy(CLIENTS / "openai_client.mjs", script)  # it looks for its packages beside itself
    return ["node", str(script)]


def _is_missing(folder: Path, wanted: str) -> bool:
    stamp = folder / "installed"
    return not stamp.is_file() or stamp.read_text() != wanted


async def buy(command: list[str]) -> dict[str, Any]:
    """A server, a paid session, and the client with its key. Answers what the client has seen; what it paid is checked here."""
    agent = Talker()
    with tempfile.TemporaryDirectory() as folder:
        async with serving({"DATA_DIR": folder, "LOG_LEVEL": "error"}, provider=agent) as site:
            opened = await site.post("/api/sessions", {"amountSats": DEPOSIT_SATS}, status=201)
            await site.pay(opened["invoice"])
            session = await site.get(f"/api/sessions/{opened['sessionId']}")
            environ = {"BASE_URL": f"{site.url}/v1", "API_KEY": session["macaroon"], "MODEL": MODEL}
            seen = await asyncio.to_thread(_run, command, environ, folder)
            await _check_paid(site, session["sessionId"], agent)
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
    known = {"litellm": litellm, "openai-js": openai_js}
    for name in names or list(known):
        seen = asyncio.run(buy(known[name]()))
        check(seen)
        sys.stdout.write(f"{name}: chat, stream, models, errors and a retry that paid once: {json.dumps(seen)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
