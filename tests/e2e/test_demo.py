"""The demo tells a whole sale, to anybody: at a terminal, in a file, without colour, in 80 columns."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import segno
from rich.console import Console
from yarl import URL

from timmy.demo import server
from timmy.demo.http import DemoFailed
from timmy.demo.screen import INDENT, Screen, Stream, half_blocks, short
from timmy.demo.stage import Scene, run_demo

GONE_WITHIN_SECONDS = 20
ROOT = Path(__file__).resolve().parents[2]


def told(path: Path, *, encoding: str = "utf-8") -> str:
    with path.open("w", encoding=encoding) as file:
        assert asyncio.run(run_demo(Console(file=file, width=80), Scene.STAND_IN, fast=True))
    return path.read_text(encoding)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The whole demo, told once."""
    return told(tmp_path_factory.mktemp("demo") / "demo.txt")


def screen_in(path: Path, encoding: str = "utf-8") -> tuple[Screen, Callable[[], str]]:
    file = path.open("w", encoding=encoding)
    screen = Screen(Console(file=file, width=80))

    def written() -> str:
        file.flush()
        return path.read_text(encoding)

    return screen, written


def number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found, f"{pattern!r} is not in:\n{text}"
    return int(found[1].replace(",", ""))


def test_the_demo_tells_a_whole_sale_and_its_sums_agree(text: str) -> None:
    judged = number(r"paid to be judged +(\d+) sats", text)
    price = number(r"paid for the work +(\d+) sats", text)
    back = number(r"got back +-(\d+) sats", text)
    cost = number(r"the answer cost +(\d+) sats", text)
    credit_msat = number(r"left as credit +([\d,]+) msat", text) if "left as credit" in text else 0
    in_the_wallet = number(r"lightning +-([\d,]+) msat", text)
    earned = number(r"revenue +([\d,]+) msat", text) + number(r"pool +([\d,]+) msat", text)
    assert cost == judged + price - back
    assert in_the_wallet == cost * 1_000 == earned + credit_msat
    assert 0 < back < price
    assert "The books close." in text
    assert "✗" not in text


@pytest.mark.parametrize("paper", ["README.md", "docs/explanation/the-ledger.md"])
def test_what_the_papers_show_of_the_demo_is_what_it_says(text: str, paper: str) -> None:
    shown = re.search(r"```text\n(.*?)```", (ROOT / paper).read_text("utf-8"), re.DOTALL)
    assert shown, paper
    said = plain(text)
    cut = ("…", "[QR code]", "lnbcrt")
    assert [line for line in plain(shown[1]) if line not in said and not line.startswith(cut)] == []


def plain(text: str) -> list[str]:
    """The lines, without what differs from one run to the next, and without rules and margins."""
    return [re.sub(r"(_|/)[a-z0-9]{8}…", r"\1…", line).strip(" ─") for line in text.splitlines()]


def test_the_demo_without_a_terminal_has_no_control_codes_and_fits_80_columns(text: str) -> None:
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert not re.search(r" $", text, re.MULTILINE)


def test_the_demo_can_be_told_in_plain_ascii(tmp_path: Path) -> None:
    assert "The books close." in told(tmp_path / "demo.txt", encoding="ascii")


def test_the_qr_code_holds_the_whole_invoice() -> None:
    """Read back from what is drawn: each half block is two modules, light where it is filled."""
    code = segno.make_qr("LIGHTNING:LNBCRT1" + "Q" * 250, error="l", boost_error=False)
    modules = [[bool(module) for module in row] for row in code.matrix_iter(border=2)]
    halves = {"█": (False, False), "▀": (False, True), "▄": (True, False), " ": (True, True)}
    read: list[list[bool]] = []
    for line in half_blocks(modules):
        pairs = [halves[character] for character in line]
        read += [[upper for upper, _ in pairs], [lower for _, lower in pairs]]
    assert read[: len(modules)] == modules


def test_words_that_arrive_in_pieces_are_wrapped_as_one_text(tmp_path: Path) -> None:
    screen, written = screen_in(tmp_path / "stream.txt")
    stream = Stream(screen)
    text = "It was the best of sats, it was the worst of sats, " * 5 + "\nand a new line"
    for n in range(0, len(text), 7):
        stream.feed(text[n : n + 7])
    stream.end()
    lines = written().splitlines()
    assert max(len(line) for line in lines) <= 80
    assert all(line.startswith(INDENT + "│ ") for line in lines)
    assert " ".join(line.removeprefix(INDENT + "│ ") for line in lines).split() == text.split()


def test_ids_and_hashes_are_shown_short_and_words_whole() -> None:
    assert short(f"/api/jobs/job_{'a' * 26}/events") == "/api/jobs/job_aaaaaaaa…/events"
    assert short("/api/dev/stub/invoice") == "/api/dev/stub/invoice"


async def test_the_demo_sells_a_node_and_hands_its_key_over_once(tmp_path: Path) -> None:
    path = tmp_path / "demo.txt"
    with path.open("w") as file:
        assert await run_demo(Console(file=file, width=80), Scene.STAND_IN, fast=True, node=True)
    said = path.read_text()
    assert "BEGIN OPENSSH PRIVATE KEY" in said
    assert "✓ asked again: The private key was handed over." in said
    assert number(r"revenue +([\d,]+) msat", said) == 10_000_000
    assert "The books close." in said
    assert max(len(line) for line in said.splitlines()) <= 80


async def test_a_server_that_cannot_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(DemoFailed, match="MARGIN_PCT"):
        async with server.start_server(tmp_path, {"MARGIN_PCT": "-1"}):
            pass


async def test_the_demo_is_not_touched_by_the_settings_of_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALLET", "lnbits")
    monkeypatch.setenv("LNBITS_API_KEY", "the user's own")
    environ = server.clean_environ(tmp_path, {"EVAL_FEE_SATS": "7"})
    assert "WALLET" not in environ
    assert "LNBITS_API_KEY" not in environ
    assert environ["EVAL_FEE_SATS"] == "7"


async def test_a_demo_that_is_killed_leaves_no_server_behind(tmp_path: Path) -> None:
    starter = f"""
import asyncio, pathlib
from timmy.demo.server import start_server

async def main():
    async with start_server(pathlib.Path({str(tmp_path)!r}), {{}}) as running:
        print(running.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", starter, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    url = URL((await process.stdout.readline()).decode().strip())
    assert await answers(url)
    process.kill()
    await process.wait()
    async with asyncio.timeout(GONE_WITHIN_SECONDS):
        while await answers(url):
            await asyncio.sleep(0.05)


async def answers(url: URL) -> bool:
    try:
        _, writer = await asyncio.open_connection(url.host, url.port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
