"""What a buyer types to go on with what was interrupted, against a real server."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.buyers_terminal import INVOICE, QUESTION, Buyer, at_a_terminal
from timmy.client import AsyncTimmy, Notebook
from timmy.money import Sats

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_ask_that_was_interrupted_is_gone_on_with(buyer: Buyer) -> None:
    terminal = await at_a_terminal(buyer, "ask", QUESTION)
    judged = (await terminal.until(INVOICE.pattern))[1]
    terminal.process.send_signal(signal.SIGINT)
    assert await terminal.end() == 130
    assert "timmy ask --resume" in terminal.seen
    os.close(terminal.master)
    again = await at_a_terminal(buyer, "ask", "--resume")
    assert (await again.until(INVOICE.pattern))[1] == judged  # the same invoice: nothing is bought twice
    await buyer.pays(judged)
    await buyer.pays((await again.until(rf"^(?!{judged})(lnbcrt[a-z0-9]{{100,}})\r?$"))[1])
    await again.until("Where to")
    os.write(again.master, b"\n")
    assert await again.end() == 0
    os.close(again.master)


async def test_whoever_does_not_pay_for_one_by_hand_goes_on_with_the_next(buyer: Buyer) -> None:
    async with AsyncTimmy(buyer.server.url, notebook=Notebook(buyer.home / "notebook.sqlite")) as timmy:
        for request in ("What is the first?", QUESTION):
            await timmy._buying.order(request)
    terminal = await at_a_terminal(buyer, "ask", "--resume")
    await terminal.until("1 of 2: What is the first")
    first = (await terminal.until(INVOICE.pattern))[1]
    terminal.process.send_signal(signal.SIGINT)
    await terminal.until("Left for later")
    await terminal.until("2 of 2: What is a satoshi")
    judged = (await terminal.until(rf"^(?!{first})(lnbcrt[a-z0-9]{{100,}})\r?$"))[1]
    await buyer.pays(judged)
    await buyer.pays((await terminal.until(rf"^(?!{first}|{judged})(lnbcrt[a-z0-9]{{100,}})\r?$"))[1])
    await terminal.until("Where to")
    os.write(terminal.master, b"\n")
    assert await terminal.end() == 1
    assert "1 left for later: timmy ask --resume" in terminal.seen
    os.close(terminal.master)
    again = await at_a_terminal(buyer, "ask", "--resume")
    assert (await again.until(INVOICE.pattern))[1] == first
    again.process.send_signal(signal.SIGINT)
    assert await again.end() == 130  # there is no next one
    os.close(again.master)


async def test_ctrl_c_twice_stops_all_that_is_gone_on_with(buyer: Buyer) -> None:
    async with AsyncTimmy(buyer.server.url, notebook=Notebook(buyer.home / "notebook.sqlite")) as timmy:
        for _ in range(3):
            await timmy._buying.order(QUESTION)
    terminal = await at_a_terminal(buyer, "ask", "--resume")
    await terminal.until(INVOICE.pattern)
    terminal.process.send_signal(signal.SIGINT)
    await terminal.until("2 of 3")
    terminal.process.send_signal(signal.SIGINT)
    assert await terminal.end() == 130, terminal.seen
    assert "3 of 3" not in terminal.seen
    os.close(terminal.master)


async def test_what_cannot_be_gone_on_with_keeps_nothing_else_back(buyer: Buyer) -> None:
    notebook = Notebook(buyer.home / "notebook.sqlite")
    async with AsyncTimmy(buyer.server.url, notebook=notebook) as timmy:
        await timmy._prefunding.begin("topup", Sats(100), "ses_nobody")
        await timmy._buying.order(QUESTION)
    code, out, err = await buyer.types("ask", "--resume", TIMMY_WALLET="dev")
    assert code == 1
    assert "satoshi" in out
    assert "ses_nobody: " in err
    code, _, err = await buyer.types("ask", "--resume", TIMMY_WALLET="dev")
    assert (code, "Nothing was interrupted" in err) == (0, True)


async def test_what_was_begun_by_hand_is_not_gone_on_with_by_a_wallet(buyer: Buyer) -> None:
    terminal = await at_a_terminal(buyer, "ask", QUESTION)
    judged = (await terminal.until(INVOICE.pattern))[1]
    terminal.process.send_signal(signal.SIGINT)
    assert await terminal.end() == 130
    os.close(terminal.master)
    code, out, err = await buyer.types("ask", "--resume", TIMMY_WALLET="dev")
    assert (code, out) == (1, "")
    assert "timmy ask --resume --wallet ''" in err
    again = await at_a_terminal(buyer, "ask", "--resume", "--wallet", "", TIMMY_WALLET="dev")
    assert (await again.until(INVOICE.pattern))[1] == judged
    again.process.send_signal(signal.SIGINT)
    await again.end()
    os.close(again.master)
