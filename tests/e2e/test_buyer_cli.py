"""What a buyer types, against a real server: as a program in a pipe, and as a person at a terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import stat

import pytest
from aiohttp import web
from bech32 import bech32_encode, convertbits

from tests.e2e.buyers_terminal import INVOICE, QUESTION, Buyer, at_a_terminal
from timmy.client import Notebook, store
from timmy.errors import plain
from timmy.identity import macaroons, nostr

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_answer_is_on_standard_output_and_the_price_beside_it(buyer: Buyer) -> None:
    code, out, err = await buyer.types("ask", QUESTION, TIMMY_WALLET="dev")
    assert code == 0
    assert "satoshi" in out
    assert "sats" not in out.replace("millisats", "")
    assert err.index("What is not used comes back") < err.index("sats in all")
    assert "came back" in err


async def test_a_program_gets_json(buyer: Buyer) -> None:
    code, out, _ = await buyer.types("ask", "-", "--json", typed=QUESTION, TIMMY_WALLET="dev")
    ended = json.loads(out)
    assert (code, ended["job"]["state"]) == (0, "complete")
    assert ended["costMsat"] < ended["paidMsat"]


async def test_without_a_wallet_a_person_pays_from_the_screen(buyer: Buyer) -> None:
    terminal = await at_a_terminal(buyer, "ask", QUESTION)
    judged = (await terminal.until(INVOICE.pattern))[1]
    assert "█▀" in terminal.seen  # the picture
    await buyer.pays(judged)
    worked = (await terminal.until(rf"^(?!{judged})(lnbcrt[a-z0-9]{{100,}})\r?$"))[1]
    await buyer.pays(worked)
    await terminal.until("Where to")
    os.write(terminal.master, b"\n")
    assert await terminal.end() == 0
    assert "satoshi" in terminal.seen
    assert re.search(r"timmy ask --claim job_\w+ --refund-to", terminal.seen)
    os.close(terminal.master)


@pytest.mark.parametrize("typed", ["Ctrl-C", "\x04", "nowhere\n"])
async def test_whoever_names_no_place_for_the_rest_is_told_how_to_claim_it_later(buyer: Buyer, typed: str) -> None:
    terminal = await at_a_terminal(buyer, "ask", QUESTION)
    judged = (await terminal.until(INVOICE.pattern))[1]
    await buyer.pays(judged)
    await buyer.pays((await terminal.until(rf"^(?!{judged})(lnbcrt[a-z0-9]{{100,}})\r?$"))[1])
    await terminal.until("Where to")
    if typed == "Ctrl-C":
        terminal.process.send_signal(signal.SIGINT)
    else:
        os.write(terminal.master, typed.encode())
    assert await terminal.end() == 0, terminal.seen
    assert re.search(r"They stay yours: timmy ask --claim job_\w+", terminal.seen)
    assert "Aborted" not in terminal.seen
    os.close(terminal.master)


async def test_a_place_that_is_none_is_refused_before_anything_is_asked_for(buyer: Buyer) -> None:
    for words in (("ask", QUESTION, "--refund-to"), ("session", "close", "--to"), ("ask", "--claim", "job_x", "--refund-to")):
        code, out, err = await buyer.types(*words, "nowhere", TIMMY_SERVER="http://127.0.0.1:1")
        assert (code, out) == (2, "")
        assert "an LNURL" in err


async def test_ctrl_c_where_a_key_is_asked_for_is_a_stop(buyer: Buyer) -> None:
    terminal = await at_a_terminal(buyer, "login", "--import")
    await terminal.until("nsec or hex")
    terminal.process.send_signal(signal.SIGINT)
    assert await terminal.end() == 130, terminal.seen
    assert "No key was brought" in terminal.seen
    os.close(terminal.master)


async def test_a_refund_that_the_server_refuses_is_told_with_the_reason_and_the_way_to_claim_it(buyer: Buyer) -> None:
    words = convertbits(b"https://127.0.0.1:1/.well-known/lnurlp/alice", 8, 5)
    assert words is not None
    code, _, err = await buyer.types("ask", QUESTION, "--refund-to", str(bech32_encode("lnurl", words)), TIMMY_WALLET="dev")
    assert code == 0
    assert re.search(r"The refund did not arrive: \w.{20,}", err), err
    assert re.search(r"timmy ask --claim job_\w+ --refund-to", err)


async def test_a_server_that_is_not_there_is_told_once(buyer: Buyer) -> None:
    code, _, err = await buyer.types("ask", QUESTION, TIMMY_SERVER="http://127.0.0.1:1")
    assert code == 2
    assert err.count("answering") == 1


async def test_a_server_that_answers_nonsense_is_one_line_of_the_list(buyer: Buyer) -> None:
    async def nonsense(_request: web.Request) -> web.Response:
        return web.json_response({})

    anything = web.Application()
    anything.router.add_get("/{path:.*}", nonsense)
    runner = web.AppRunner(anything)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        notebook = Notebook(buyer.home / "notebook.sqlite")
        port = runner.addresses[0][1]
        await notebook.do(store.keep_session, "ses_there", f"http://127.0.0.1:{port}", "key", notebook.now_ms())
        code, out, _ = await buyer.types("session", "list", "--all")
    finally:
        await runner.cleanup()
    assert code == 0
    assert re.search(r"ses_there +the server's answer makes no sense", out)


async def test_a_limit_that_was_set_once_holds_for_every_ask(buyer: Buyer) -> None:
    assert (await buyer.types("limits", "--per-day", "12"))[0] == 0
    code, out, err = await buyer.types("ask", QUESTION, TIMMY_WALLET="dev")
    assert (code, out) == (2, "")
    assert "12 that are left for today" in err
    assert "Nothing was paid" in err


async def test_the_limit_that_stops_an_ask_is_the_one_that_is_named(buyer: Buyer) -> None:
    for option, here in (("--per-call", "--most"), ("--per-day", "--per-day")):
        assert (await buyer.types("limits", option, "12"))[0] == 0
        _, _, err = await buyer.types("ask", QUESTION, TIMMY_WALLET="dev")
        assert f"timmy limits {option}" in err
        assert f"{here} allows more here" not in err
        assert (await buyer.types("limits", option, "0"))[0] == 0
        _, _, err = await buyer.types("ask", QUESTION, here, "12", TIMMY_WALLET="dev")
        assert f"{here} allows more here" in err


async def test_a_session_beyond_the_limits_is_not_begun(buyer: Buyer) -> None:
    for words in (("open", "2000"), ("open", "200", "--most", "150"), ("open", "200", "--per-day", "150")):
        code, out, err = await buyer.types("session", *words, TIMMY_WALLET="dev")
        assert (code, out) == (2, "")
        assert "Nothing was paid" in err
        assert ("--per-day" if "--per-day" in words else "--most") in err
    code, _, err = await buyer.types("ask", "--resume", TIMMY_WALLET="dev")
    assert (code, "Nothing was interrupted" in err) == (0, True)
    assert (await buyer.types("session", "open", "100", TIMMY_WALLET="dev"))[0] == 0
    code, _, err = await buyer.types("session", "topup", "2000", TIMMY_WALLET="dev")
    assert (code, "Nothing was paid" in err) == (2, True)
    code, _, err = await buyer.types("ask", "--resume", TIMMY_WALLET="dev")
    assert (code, "Nothing was interrupted" in err) == (0, True)
    code, out, err = await buyer.types("session", "attenuate", "--can", "fly")
    assert (code, out) == (2, "")
    assert "session or chat" in err


async def test_a_session_lives_its_life(buyer: Buyer) -> None:
    wallet = {"TIMMY_WALLET": "dev"}
    assert (await buyer.types("session", "open", "500", **wallet))[0] == 0
    code, out, err = await buyer.types("session", "ask", QUESTION)
    assert code == 0
    assert "satoshi" in out
    assert "are left" in err
    _, out, _ = await buyer.types("session", "topup", "100", **wallet)
    assert re.search(r"balance +59\d", out)
    _, key, _ = await buyer.types("session", "status", "--key")
    _, smaller, _ = await buyer.types("session", "attenuate", "--most", "20", "--for", "24h")
    assert macaroons.decode(smaller).identifier == macaroons.decode(key).identifier
    assert b"timmy_max_msat=20000" in macaroons.decode(smaller).caveats
    code, _, err = await buyer.types("session", "attenuate")
    assert code == 2
    assert "at least one limit" in err
    _, _, err = await buyer.types("session", "close", **wallet)
    assert re.search(r"Closed ses_\w+: \d+ sats came back", err)
    _, out, _ = await buyer.types("session", "list")
    assert re.search(r"ses_\w+ +closed", out)


async def test_a_login_makes_a_key_once_and_keeps_it_for_its_owner_only(buyer: Buyer) -> None:
    code, out, _ = await buyer.types("login")
    assert code == 0
    assert re.search(r"tier +new", out)
    assert "free today" in out
    path = buyer.home / "nostr_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = path.read_text()
    code, again, _ = await buyer.types("login")
    assert path.read_text() == key
    assert re.search(r"npub1\w+", again)
    code, _, err = await buyer.types("login", "--import", typed=key)
    assert code == 2
    assert "already" in err
    _, out, _ = await buyer.types("ask", QUESTION, "--json", TIMMY_WALLET="dev")
    assert json.loads(out)["job"]["trust_tier"] == "new"  # and not anonymous: the login goes with it


async def test_a_key_of_ones_own_can_be_brought(buyer: Buyer) -> None:
    secret = "0000000000000000000000000000000000000000000000000000000000000003"
    code, out, _ = await buyer.types("login", "--import", "--key-only", typed=secret)
    assert code == 0
    assert nostr.npub("f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9") in out  # BIP-340, test vector 0
    for nonsense in ("", "nsec1qqqq", "00" * 32, "ff" * 32):
        (buyer.home / "nostr_key").unlink(missing_ok=True)
        code, _, err = await buyer.types("login", "--import", "--key-only", typed=nonsense + "\n")
        assert code == 2, nonsense
        assert "no Nostr key" in err


async def test_a_shell_completes_the_commands(buyer: Buyer) -> None:
    code, out, _ = await buyer.types(_TIMMY_COMPLETE="complete_bash", COMP_WORDS="timmy session a", COMP_CWORD="2")
    assert code == 0
    assert out.split() == ["ask", "attenuate"]
    for shell in ("bash", "zsh", "fish"):
        _, script, _ = await buyer.types(_TIMMY_COMPLETE=f"source_{shell}")
        assert "_TIMMY_COMPLETE" in script


async def test_what_cannot_be_is_said_in_a_sentence(buyer: Buyer) -> None:
    for words, told in (
        (("ask",), "Say what you want"),
        (("ask", QUESTION, "--wallet", "foo:secret"), "foo is none that is known"),
        (("ask", QUESTION, "--wallet", "lnbits+https://host.example"), "admin key"),
        (("ask", QUESTION, "--server", "ftp://x"), "ftp://x is not the address of a Timmy"),
        (("ask", QUESTION, "--server", "http://me:secret@127.0.0.1:1"), "no user name, password"),
        (("ask", QUESTION, "--server", "http://127.0.0.1:1"), "Is the address right"),
        (("ask", "x" * 501, "--wallet", "dev"), "500"),
        (("session", "status"), "no open session"),
        (("session", "attenuate", "--for", "long"), "no period"),
    ):
        code, out, err = await buyer.types(*words)
        assert (code, out) == (2, ""), (words, out, err)
        assert told in err, (words, err)
        assert "secret" not in err


async def test_a_models_words_do_not_command_the_terminal() -> None:
    assert plain("a\x1b[2Jb\x07\nc\t\u202e") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}\nc\t\N{REPLACEMENT CHARACTER}"
