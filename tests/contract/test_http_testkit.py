"""The test kit, run as its readers run it, against a house that keeps the contract and against houses that do not."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace

import httpx
import pytest
from tests.contract.http_desk import WORK_PRICE, World, opened

from timmy.jobs.model import JobView
from timmy.jobs.protocol import Destination, Key
from timmy.lightning.diagnosis import Row, Word
from timmy.money import Sats
from timmy.settings import Secret, Settings
from timmy.web import testkit, views
from timmy.web.operator.protocol import NodeStatus

KIT_SECONDS = 600


async def run_kit(url: str, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
    """`curl -s URL/api/testkit | bash`, with nothing of this process' environment but the PATH."""
    async with httpx.AsyncClient() as client:
        script = (await client.get(f"{url}/api/testkit")).content
    process = await asyncio.create_subprocess_exec(
        "bash",
        env={"PATH": os.environ["PATH"], "WAIT": "20", **(environ or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(script), KIT_SECONDS)
    return process.returncode or 0, said.decode()


def counts(said: str) -> tuple[int, int, int]:
    last = re.fullmatch(r"PASS=(\d+) FAIL=(\d+) SKIP=(\d+)", said.splitlines()[-1])
    assert last is not None, said
    passed, failed, skipped = (int(n) for n in last.groups())
    lines = [line.split(" ")[0] for line in said.splitlines()]
    assert (lines.count("PASS"), lines.count("FAIL"), lines.count("SKIP")) == (passed, failed, skipped)
    return passed, failed, skipped


async def test_a_server_that_keeps_the_contract_passes() -> None:
    async with opened() as here:
        code, said = await run_kit(here.url)
    passed, failed, skipped = counts(said)
    assert (code, failed) == (0, 0), said
    assert passed >= 60
    assert [line for line in said.splitlines() if line.startswith("SKIP")] == [
        "SKIP a page of a listed origin may call (ORIGIN names none)",
        "SKIP a node, from its invoice to its key (this server sells no nodes)",
    ]
    assert skipped == 2
    assert "\x1b" not in said, "coloured on a terminal only"


async def test_what_cannot_be_tested_is_skipped_with_its_reason() -> None:
    world = World.build(Settings(admin_token=Secret("a-token-of-the-operator")), dev=False)
    world.house.node_status = seen
    async with opened(world) as here:
        code, said = await run_kit(here.url)
        assert (code, counts(said)[1]) == (0, 0), said
        assert "SKIP paying for the work (this server has no development routes to pay with)" in said
        assert "SKIP metrics for Prometheus (they are the operator's: give ADMIN_TOKEN)" in said
        code, said = await run_kit(here.url, {"ADMIN_TOKEN": "a-token-of-the-operator", "PAY": "0"})
        assert (code, counts(said)[1]) == (0, 0), said
        assert "PASS metrics for Prometheus" in said
        assert "PASS how the node is: each check says how, and what to do" in said
        assert "SKIP refunds (PAY=0)" in said


async def seen() -> NodeStatus:
    return NodeStatus(0, "builtin", "regtest", (Row("wallet", Word.OK, "it answers"),), None)


async def test_a_server_that_breaks_the_contract_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.build()
    ledger, breakdown, refund = views.cost_ledger, views.pricing_breakdown, world.desk.refund
    monkeypatch.setattr(views, "cost_ledger", lambda *args: {**ledger(*args), "actualAmountSats": WORK_PRICE.value + 1})
    monkeypatch.setattr(views, "pricing_breakdown", lambda quote: {**breakdown(quote), "marginPct": 4})

    async def forgetful(job_id: str, destination: Destination, *, key: Key | None = None) -> JobView:
        """It pays again whoever asks again."""
        if world.desk.paid_to.pop(job_id, None) is not None:
            job = world.desk.jobs[job_id]
            world.desk.jobs[job_id] = replace(job, refund=replace(job.refund, owed=job.refund.paid, paid=Sats(0)))
        return await refund(job_id, destination, key=key)

    monkeypatch.setattr(world.desk, "refund", forgetful)
    async with opened(world) as here:
        code, said = await run_kit(here.url)
    assert code == 1
    assert [line for line in said.splitlines() if line.startswith("FAIL")] == [
        "FAIL the price of the work comes with its reasons, and they add up",
        "FAIL the cost ledger adds up, and charges no more than was paid",
        "FAIL a refund to another invoice after that is refused",
    ]


async def test_a_job_that_gets_stuck_is_a_failure_and_not_a_wait_for_ever() -> None:
    async with opened(steps=True) as here:  # nothing happens by itself, and nobody does it
        code, said = await run_kit(here.url, {"WAIT": "1"})
    assert code == 1
    assert "FAIL paying for the evaluation has it judged, and paying again changes nothing" in said


async def test_without_a_server_it_says_so() -> None:
    async with opened() as here:
        code, said = await run_kit(here.url, {"BASE": "http://127.0.0.1:9"})
    assert code == 2
    assert "There is no server" in said


async def test_half_of_the_script_does_nothing() -> None:
    script = testkit.script("http://127.0.0.1:9")
    for share in (2, 3):
        cut = script[: len(script) * (share - 1) // share]
        process = await asyncio.create_subprocess_exec(
            "bash", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        assert (await asyncio.wait_for(process.communicate(cut.encode()), KIT_SECONDS))[0] == b""


def test_the_script_keeps_to_what_an_old_bash_and_a_plain_machine_have() -> None:
    script = "\n".join(line for line in testkit.script("http://127.0.0.1:9").splitlines() if not line.lstrip().startswith("#"))
    newer = {
        "associative arrays": r"\b(declare|local|typeset) -[a-zA-Z]*A",
        "case of words": r"\$\{\w+(\^|,)",
        "mapfile": r"\b(mapfile|readarray|coproc)\b",
        "namerefs": r"\b(declare|local) -n",
        "both streams at once": r"&>>|\|&",
        "negative substrings": r"\$\{\w+: -\d",
        "epoch": r"EPOCHSECONDS",
        "jq, python, perl": r"\b(jq|python3?|perl|ruby)\b",
        "GNU's own": r"(grep -[a-zA-Z]*P|sed -[a-zA-Z]*r|date -[dI]|readlink -f|\btac\b|seq )",
    }
    assert {what: re.findall(pattern, script) for what, pattern in newer.items() if re.search(pattern, script)} == {}


async def test_shellcheck_has_nothing_to_say() -> None:
    shellcheck = shutil.which("shellcheck")
    process = await asyncio.create_subprocess_exec(
        *((shellcheck, "-s", "bash", "-") if shellcheck else ("bash", "-n")),  # without it, at least bash must understand it
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(testkit.script("http://127.0.0.1:9").encode())
    assert said == b""


async def test_the_script_is_served_as_a_script() -> None:
    async with World.build().client() as client:
        answer = await client.get("/api/testkit", headers={"Host": "timmy.test"})
    assert answer.headers["content-type"].startswith("text/x-shellscript")
    assert testkit.PLACEHOLDER not in answer.text
    assert "BASE=${BASE:-http://timmy.test}" in answer.text
