"""Each example does what it says, against a real server."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from timmy.demo.server import Server, start_server, verify

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
QUESTION = 'What is a "satoshi", and what is \\n in it?'
END_WITHIN_SECONDS = 120


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def timmy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with start_server(tmp_path_factory.mktemp("server"), {}) as running:
        yield running


async def run(*command: str, **environ: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *command, env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environ}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), END_WITHIN_SECONDS)
    return process.returncode, output.decode()


async def test_the_python_example_buys_an_answer_and_takes_its_refund(timmy: Server) -> None:
    code, output = await run(sys.executable, str(EXAMPLES / "buy_an_answer.py"), timmy.url, QUESTION, "--dev")
    assert code == 0, output
    assert "satoshi" in output
    assert "sats came back" in output
    code, books = await verify(timmy)
    assert (code, json.loads(books)["ok"]) == (0, True)


async def test_the_shell_example_buys_an_answer(timmy: Server) -> None:
    assert shutil.which("curl"), "the example needs curl"
    code, output = await run(str(EXAMPLES / "buy_an_answer.sh"), timmy.url, QUESTION, DEV="1")
    assert code == 0, output
    assert "satoshi" in output
    assert "complete: " in output


async def test_the_shell_example_says_why_there_is_no_answer(timmy: Server) -> None:
    code, output = await run(str(EXAMPLES / "buy_an_answer.sh"), timmy.url, "please fail", DEV="1")
    assert code == 1
    assert "failed: The work could not be done" in output
    assert "9 sats are owed back." in output


async def test_the_clients_example_shows_the_answer_and_stays_within_its_limits(timmy: Server, tmp_path: Path) -> None:
    command = (sys.executable, str(EXAMPLES / "ask_with_limits.py"), timmy.url, QUESTION)
    code, output = await run(*command, "dev", TIMMY_HOME=str(tmp_path))
    assert code == 0, output
    assert "satoshi" in output
    assert "sats came back" in output
    code, output = await run(*command, TIMMY_HOME=str(tmp_path), TIMMY_WALLET="nothing-known")
    assert code == 1
    assert "A wallet is dev" in output
    assert "Traceback" not in output


async def test_an_example_tells_the_servers_own_words_when_it_is_refused(timmy: Server) -> None:
    code, output = await run(sys.executable, str(EXAMPLES / "buy_an_answer.py"), timmy.url, "x" * 501, "--dev")
    assert code == 1
    assert "500" in output
    assert "Traceback" not in output
