"""Each of them as a process of its own, made ready to be asked, and ended with the block."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psycopg

from bench.gateway.wire import AT_ONCE, FIXED_MSAT, HELD, MARGIN_PCT, RATES
from bench.memory.server import serving
from bench.runners import ROOT, RunnerFailed
from timmy.money import Sats

KEYS = 16
DEPOSIT = Sats(100_000)  # of each key, in the designs that have one: more than a run can spend
START_SECONDS, END_SECONDS = 120, 20
ASK_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Gateway:
    """`pids`: of its processes, one for each port; none of the upstream itself, which is not what is measured."""

    ports: Sequence[int]
    pids: Sequence[int]
    keys: Sequence[str]


@contextmanager
def upstream() -> Iterator[Gateway]:
    command = [sys.executable, "-m", "bench.gateway.upstream"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        if not said:
            raise RunnerFailed("the upstream did not start")
        yield Gateway((int(said),), (), ("none",))
    finally:
        _end(process)


@contextmanager
def timmy(url: str, folder: Path, upstream_port: int, *, processes: int = 1) -> Iterator[Gateway]:
    """`timmy serve`, with sessions whose deposits are paid. The callers share the processes out among themselves."""
    settings = {
        "PROVIDER": "openai",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream_port}/v1",
        "EVAL_MODEL": AT_ONCE,
        "WORK_MODEL": AT_ONCE,
        "V1_MODELS": f"{AT_ONCE},{HELD}",
        "MODEL_RATES": json.dumps({AT_ONCE: RATES, HELD: RATES}),
        "BTC_PRICE_USD_FALLBACK": "100000",
        "MARGIN_PCT": str(MARGIN_PCT),
        "INFRA_USD_PER_MONTH": f"{FIXED_MSAT / 100:.2f}",
        "INFRA_REQUESTS_PER_MONTH": "10000",
        "SESSION_MAX_SATS": str(DEPOSIT.value),
    }
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(url, _place(folder, number), settings)) for number in range(processes)]
        macaroons = asyncio.run(_open_sessions(servers[0].url, KEYS))
        yield Gateway([int(server.url.rpartition(":")[2]) for server in servers], [server.pid for server in servers], macaroons)


def _place(folder: Path, number: int) -> Path:
    place = folder / f"server-{number}"
    place.mkdir()
    return place


async def _open_sessions(url: str, count: int) -> list[str]:
    async with aiohttp.ClientSession(base_url=url, timeout=aiohttp.ClientTimeout(total=ASK_SECONDS), raise_for_status=True) as http:
        return [await _open_session(http) for _ in range(count)]


async def _open_session(http: aiohttp.ClientSession) -> str:
    async with http.post("/api/sessions", json={"amountSats": DEPOSIT.value}) as answer:
        opened = await answer.json()
    async with http.post(f"/api/dev/stub/pay/{opened['invoice']['paymentHash']}") as answer:
        await answer.read()
    while True:  # the client's timeout ends it
        async with http.get(f"/api/sessions/{opened['sessionId']}") as answer:
            shown = await answer.json()
        if shown["state"] == "active":
            macaroon: str = shown["macaroon"]
            return macaroon
        await asyncio.sleep(0.05)


@contextmanager
def litellm(bin: Path, folder: Path, upstream_port: int) -> Iterator[Gateway]:
    """One worker, as its own command starts it."""
    keys = [f"sk-bench-{n}" for n in range(KEYS)]
    shutil.copy(ROOT / "bench" / "gateway" / "litellm_keys.py", folder / "litellm_keys.py")
    (folder / "litellm.json").write_text(json.dumps(_litellm_configuration(upstream_port)))  # JSON is YAML
    port = _free_port()
    command = [str(bin / "litellm"), "--config", "litellm.json", "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    more = {
        "BENCH_KEYS": ",".join(keys),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it asks for prices over the network otherwise
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
    }
    with _running(command, folder, more, ready=f"http://127.0.0.1:{port}/health/liveliness") as process:
        yield Gateway((port,), (process.pid,), keys)


def _litellm_configuration(upstream_port: int) -> dict[str, object]:
    per_token = {f"{side}_cost_per_token": float(RATES[side]) / 1e6 for side in ("input", "output")}
    at = {"api_base": f"http://127.0.0.1:{upstream_port}/v1", "api_key": "none", **per_token}
    return {
        "model_list": [{"model_name": model, "litellm_params": {"model": f"openai/{model}", **at}} for model in (AT_ONCE, HELD)],
        "litellm_settings": {"callbacks": ["litellm_keys.spend"], "telemetry": False},
        "general_settings": {"master_key": "sk-bench-master-key-0f9c2d71", "custom_auth": "litellm_keys.check"},
    }


@contextmanager
def naive(bin: Path, folder: Path, url: str, upstream_port: int) -> Iterator[Gateway]:
    keys = [f"sk-bench-{n}" for n in range(KEYS)]
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE keys (key TEXT PRIMARY KEY, balance_msat BIGINT NOT NULL, held_msat BIGINT NOT NULL)")
        connection.execute(
            "CREATE TABLE calls (id BIGSERIAL PRIMARY KEY, at TIMESTAMPTZ NOT NULL DEFAULT now(), key TEXT NOT NULL, model TEXT NOT NULL,"
            " prompt_tokens INT NOT NULL, completion_tokens INT NOT NULL, charged_msat BIGINT NOT NULL)"
        )
        connection.cursor().executemany("INSERT INTO keys VALUES (%s, %s, 0)", [(key, DEPOSIT.msats.value) for key in keys])
    port = _free_port()
    order = json.dumps({"url": url, "port": port, "upstream_port": upstream_port})
    command = [str(bin / "python"), "-m", "bench.gateway.naive", order]
    with _running(command, folder, {"PYTHONPATH": str(ROOT)}, ready=f"http://127.0.0.1:{port}/docs") as process:
        yield Gateway((port,), (process.pid,), keys)


@contextmanager
def _running(command: Sequence[str], folder: Path, more: dict[str, str], *, ready: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # it would slow the rivals down
    log = folder / "rival.log"
    with log.open("wb") as words:
        process = subprocess.Popen(command, cwd=folder, env={**environment, **more}, stdout=words, stderr=words)
    try:
        _wait(process, ready, log)
        yield process
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RunnerFailed(f"{process.args!r} did not open:\n{log.read_text(errors='replace')[-2000:]}")


def _end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
