"""Each trouble that a node can have, the row that it makes, and what that row says to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from yarl import URL

from timmy.lightning.diagnosis import Books, Row, Situation, Wants, Word, diagnosed, worst
from timmy.lightning.diagnosis.rows import Asked, Audit, Push, ago
from timmy.lightning.reconcile import Standing
from timmy.lightning.wallets.electrum_facts import facts_of
from timmy.lightning.wallets.facts import Certificate, Channels, NodeFacts, added, is_in_the_clear, printable, skew_of
from timmy.money import Msats, Sats

NOW_MS = 1_700_000_000_000
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
NAMES = [
    "wallet", "node", "version", "chain", "channels", "liquidity_in", "liquidity_out", "fees", "certificate", "clock", "balance", "push",
    "payouts", "tasks", "books",
]  # fmt: skip


def sats(count: int) -> Msats:
    return Sats(count).msats


FACTS = NodeFacts(
    software="Electrum",
    version="4.8.4",
    connected=True,
    synced=True,
    height=800_000,
    chain_height=800_000,
    channels=Channels(2, 0, 0),
    spendable=sats(50_000),
    receivable=sats(500_000),
    skew_ms=0,
    certificate=Certificate(NOW_MS + 90 * DAY_MS),
    in_the_clear=False,
)
ASKED = Asked(kind="electrum", network="mainnet", caps_fees=True, balance=sats(50_000), latency_ms=12, facts=FACTS, facts_latency_ms=20)
BOOKS = Books(
    standing=Standing(sats(50_000), Msats(0), opened=True),
    kinds={"owed": 5_000_000, "session": 20_000_000, "job": 1_000_000, "pool": 4_000_000, "revenue": 20_000_000, "lightning": -50_000_000},
    still=True,
    stopped=None,
    late=0,
    late_since_ms=None,
    late_sum=Msats(0),
    parked=(),
    parked_money=(),
    settled_at_ms=NOW_MS - HOUR_MS,
    paid_out=sats(10_000),
    fees=sats(30),
)
WANTS = Wants(
    smallest=Sats(10), largest={"SESSION_MAX_SATS": Sats(100_000)}, dearest_refund=Sats(100_000), uncapped_max=Sats(1_000),
    payouts_enabled=True,
)  # fmt: skip
WELL = Situation(
    at_ms=NOW_MS,
    asked=ASKED,
    wants=WANTS,
    books=BOOKS,
    audit=Audit(at_ms=NOW_MS - MINUTE_MS, broken=()),
    push=Push(since_ms=NOW_MS - DAY_MS, heard_at_ms=NOW_MS - HOUR_MS, trouble=None),
)


def facts(**changed: Any) -> Situation:
    return replace(WELL, asked=replace(ASKED, facts=replace(FACTS, **changed)))


def asked(**changed: Any) -> Situation:
    return replace(WELL, asked=replace(ASKED, **changed))


def books(**changed: Any) -> Situation:
    return replace(WELL, books=replace(BOOKS, **changed))


def row(here: Situation, name: str) -> Row:
    (found,) = (one for one in diagnosed(here) if one.name == name)
    return found


TROUBLES: dict[str, tuple[Situation, str, Word, str, str]] = {
    "no answer": (asked(down="refused", balance=None), "wallet", Word.FAIL, "refused", "electrum getinfo"),
    "no answer of LNbits": (asked(kind="lnbits", down="refused"), "wallet", Word.FAIL, "refused", "/api/v1/health"),
    "no answer over Nostr": (asked(kind="nwc", down="silent"), "wallet", Word.FAIL, "silent", "the relay in NWC_URI"),
    "no answer of LND": (asked(kind="lnd", down="locked"), "wallet", Word.FAIL, "locked", "lncli unlock"),
    "its key can do more": (
        facts(key_excess=("macaroon:generate", "offchain:write", "onchain:write", "peers:write", "signer:generate")), "wallet", Word.WARN,
        "offchain:write, onchain:write, peers:write, …", "lncli bakemacaroon",
    ),
    "slow": (asked(latency_ms=2_001), "wallet", Word.WARN, "slowly", "Every invoice waits"),
    "nothing of its node": (asked(facts=None), "node", Word.UNKNOWN, "tells nothing", ""),
    "its node is silent": (asked(facts=None, untold="no answer within 5 s"), "node", Word.WARN, "within 5 s", "electrum getinfo"),
    "nonsense": (facts(nonsense=("version", "channels")), "node", Word.WARN, "makes no sense: version, channels", "update it"),
    "too old": (facts(version="4.7.9"), "version", Word.FAIL, "4.7.9 is too old", "Update Electrum to 4.8"),
    "no number": (facts(version="nightly"), "version", Word.UNKNOWN, "nightly", ""),
    "no version": (asked(kind="lnbits", facts=replace(FACTS, version=None)), "version", Word.UNKNOWN, "not told", "signed in"),
    "off the chain": (facts(connected=False), "chain", Word.FAIL, "not connected", "electrum setconfig server"),
    "two blocks behind": (facts(height=799_998), "chain", Word.WARN, "2 behind", "its log"),
    "many blocks behind": (facts(height=799_994), "chain", Word.FAIL, "6 behind", "its log"),
    "its server is behind": (facts(chain_height=799_000), "chain", Word.FAIL, "1,000 blocks behind it", "another server"),
    "catching up": (facts(synced=False), "chain", Word.WARN, "catching up", "ten minutes"),
    "catching up, no height": (facts(synced=False, height=None), "chain", Word.WARN, "catching up", "ten minutes"),
    "how high is not told": (facts(synced=None, chain_height=None), "chain", Word.UNKNOWN, "800,000; how high", ""),
    "no channel": (facts(channels=Channels(0, 0, 0)), "channels", Word.FAIL, "0 active", "Open a channel"),
    "channel to come": (facts(channels=Channels(0, 0, 1)), "channels", Word.FAIL, "1 opening or closing", "about an hour"),
    "all peers away": (facts(channels=Channels(0, 2, 0)), "channels", Word.FAIL, "2 inactive", "peers are away"),
    "one peer away": (facts(channels=Channels(1, 1, 0)), "channels", Word.WARN, "1 inactive", "close them"),
    "channels not told": (facts(channels=None), "channels", Word.UNKNOWN, "not told", ""),
    "nothing can come in": (facts(receivable=sats(9)), "liquidity_in", Word.FAIL, "9 sats can come in", "Nobody can pay you"),
    "little can come in": (facts(receivable=sats(40_000)), "liquidity_in", Word.WARN, "40,000", "SESSION_MAX_SATS to at most 40000"),
    "what can come in is not told": (facts(receivable=None), "liquidity_in", Word.UNKNOWN, "not told", ""),
    "refunds cannot leave": (facts(spendable=sats(4_000)), "liquidity_out", Word.FAIL, "5,000 owed now", "1,000 sats: open a channel"),
    "not all could leave": (facts(spendable=sats(20_000)), "liquidity_out", Word.WARN, "26,000 at most", "6,000 sats would be missing"),
    "no balance": (asked(facts=None, balance=None, down="x"), "liquidity_out", Word.UNKNOWN, "did not answer", ""),
    "dear fees": (books(fees=sats(301)), "fees", Word.WARN, "301 sats for 10,000", "PAYOUT_FEE_LIMIT_PCT"),
    "fees without a limit": (asked(caps_fees=False), "fees", Word.WARN, "30 sats", "PAYOUT_MAX_SATS_UNCAPPED"),
    "certificate ends": (facts(certificate=Certificate(NOW_MS + 13 * DAY_MS)), "certificate", Word.WARN, "ends in 13 d", "certbot renew"),
    "certificate ended": (facts(certificate=Certificate(NOW_MS - HOUR_MS)), "certificate", Word.FAIL, "ended 60 min ago", "certbot renew"),
    "certificate ended, they say": (
        facts(certificate=Certificate(None, True, "certificate has expired")), "certificate", Word.FAIL, "has expired", "certbot renew",
    ),
    "strange certificate": (
        facts(certificate=Certificate(None, False, "self-signed certificate")), "certificate", Word.FAIL, "self-signed", "trusts who",
    ),
    "certificate of LND ended": (
        asked(kind="lnd", facts=replace(FACTS, certificate=Certificate(NOW_MS - HOUR_MS))),
        "certificate", Word.FAIL, "ended", "new tls.cert",
    ),
    "certificate not seen": (facts(certificate=Certificate(None)), "certificate", Word.UNKNOWN, "could not", ""),
    "in the clear": (facts(certificate=None, in_the_clear=True), "certificate", Word.FAIL, "plain http", "a tunnel"),
    "clock ahead": (facts(skew_ms=31_000), "clock", Word.WARN, "31 s ahead of", "timedatectl"),
    "clock far behind": (facts(skew_ms=-HOUR_MS), "clock", Word.FAIL, "60 min behind", "timedatectl"),
    "clock not told": (facts(skew_ms=None), "clock", Word.UNKNOWN, "not told", ""),
    "sats are missing": (asked(balance=sats(40_000)), "balance", Word.FAIL, "9,990 sats are missing", "timmy reconcile"),
    "sats too many": (asked(balance=sats(50_100)), "balance", Word.OK, "100 more", 'timmy reconcile --accept "why"'),
    "money moves": (books(still=False), "balance", Word.UNKNOWN, "money moved", "Look again"),
    "push is down": (facts(listening=False), "push", Word.WARN, "down", "WebSockets"),
    "push of LND is down": (
        asked(kind="lnd", facts=replace(FACTS, listening=False)), "push", Word.WARN, "down", "answers without an end",
    ),
    "push has trouble": (
        replace(WELL, push=Push(since_ms=0, heard_at_ms=None, trouble="refused")), "push", Word.WARN, "refused", "WebSockets",
    ),
    "push is silent": (
        replace(WELL, push=Push(since_ms=NOW_MS - DAY_MS, heard_at_ms=NOW_MS - 2 * HOUR_MS, trouble=None)),
        "push", Word.WARN, "silent: a payment 60 min ago", "by looking",
    ),
    "push never heard, nor paid": (
        replace(WELL, push=Push(since_ms=NOW_MS - MINUTE_MS, heard_at_ms=None, trouble=None)), "push", Word.UNKNOWN, "nothing", "",
    ),
    "not the server": (replace(WELL, push=None), "push", Word.UNKNOWN, "not the server", "/api/admin/node-status/html"),
    "payouts stopped": (books(stopped="by a test"), "payouts", Word.FAIL, "by a test", "timmy refunds resume"),
    "payouts off": (replace(WELL, wants=replace(WANTS, payouts_enabled=False)), "payouts", Word.WARN, "off", "PAYOUTS_ENABLED=1"),
    "payouts late": (
        books(late=2, late_since_ms=NOW_MS - HOUR_MS, late_sum=sats(7)), "payouts", Word.WARN, "2 do not get on, 7 sats", "refunds list",
    ),
    "payouts very late": (books(late=1, late_since_ms=NOW_MS - DAY_MS), "payouts", Word.FAIL, "since 24 h", "refunds list"),
    "a task laid aside": (books(parked=("execute/job_1",)), "tasks", Word.WARN, "1 laid aside", "timmy tasks retry execute/job_1"),
    "money laid aside": (
        books(parked=("execute/a", "execute/b", "execute/c", "pay/p"), parked_money=("pay/p",)),
        "tasks", Word.FAIL, "4 laid aside: pay/p, execute/a, execute/b and 1 more", "timmy tasks retry pay/p",
    ),
    "no books": (replace(WELL, books=None, books_trouble="the disk is gone"), "books", Word.FAIL, "disk is gone", "DATABASE_URL"),
    "busy books": (replace(WELL, books=None, books_busy=True), "books", Word.UNKNOWN, "being read through", "in a minute"),
    "books not read": (replace(WELL, audit=None), "books", Word.UNKNOWN, "not read", "timmy ledger verify"),
    "books broken": (
        replace(WELL, audit=Audit(at_ms=NOW_MS, broken=("sum: 1 msat",))), "books", Word.FAIL, "sum: 1 msat", "timmy ledger verify",
    ),
    "books not read of late": (
        replace(WELL, audit=Audit(at_ms=NOW_MS - HOUR_MS, broken=())), "books", Word.WARN, "60 min ago", "restart it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_trouble_makes_its_row_and_says_what_to_do(trouble: str) -> None:
    here, name, word, value, hint = TROUBLES[trouble]
    found = row(here, name)
    assert (found.word, value in found.value, hint in (found.hint or "")) == (word, True, True), found
    if word in (Word.WARN, Word.FAIL):
        assert worst(diagnosed(here)) is word


def test_a_node_that_is_well_has_nothing_to_hint_at() -> None:
    found = diagnosed(WELL)
    assert [one.name for one in found] == NAMES
    assert [(one.name, one.word, one.hint) for one in found if one.word is not Word.OK or one.hint] == []
    assert worst(found) is Word.OK


def test_what_nobody_tells_is_unknown_and_no_trouble() -> None:
    found = diagnosed(replace(WELL, asked=replace(ASKED, facts=NodeFacts()), push=None, audit=None))
    unknown = {one.name for one in found if one.word is Word.UNKNOWN}
    assert unknown == {"version", "chain", "channels", "liquidity_in", "certificate", "clock", "push", "books"}
    assert worst(found) is Word.OK


def test_without_wallet_and_books_every_row_is_still_there() -> None:
    here = Situation(at_ms=NOW_MS, asked=Asked(kind="strange", down="gone"), wants=WANTS, books_trouble="gone too")
    assert [one.name for one in diagnosed(here)] == NAMES
    assert {one.name for one in diagnosed(here) if one.word is Word.FAIL} == {"wallet", "books"}


# What is read of a backend ---------------------------------------------------------------------------------

INFO = {"version": "4.8.4", "connected": True, "blockchain_height": 10, "server_height": 11}
OPEN = {
    "state": "OPEN", "peer_state": "GOOD", "local_balance": 500, "remote_balance": 300, "local_reserve": 100, "remote_reserve": 400,
}  # fmt: skip


def test_what_electrum_tells_is_read_to_the_reserve() -> None:
    away = {**OPEN, "peer_state": "DISCONNECTED"}
    told = facts_of(INFO, True, [OPEN, OPEN, away, {**OPEN, "state": "OPENING"}, {**OPEN, "state": "REDEEMED"}])
    assert (told.version, told.height, told.chain_height, told.connected, told.synced) == ("4.8.4", 10, 11, True, True)
    assert (told.channels, told.spendable, told.receivable) == (Channels(2, 1, 1), sats(800), sats(0))
    assert told.nonsense == ()


@pytest.mark.parametrize(
    ("info", "synced", "channels", "named"),
    [
        ("no object", True, [], "getinfo"),
        ({**INFO, "blockchain_height": -1}, True, [], "block height"),
        ({**INFO, "server_height": 10**12}, True, [], "server's block height"),
        ({**INFO, "version": ["4"]}, True, [], "version"),
        ({**INFO, "connected": "yes"}, True, [], "connection"),
        (INFO, 1, [], "is_synchronized"),
        (INFO, True, {"no": "list"}, "channels"),
        (INFO, True, ["no object"], "channels"),
        (INFO, True, [{**OPEN, "local_balance": "1e9"}], "local balance"),
        (INFO, True, [{**OPEN, "remote_reserve": 2.5}], "remote reserve"),
        (INFO, True, [{**OPEN, "remote_balance": 10**30}], "remote balance"),
    ],
)
def test_a_lie_is_named_and_left_out(info: object, synced: object, channels: object, named: str) -> None:
    told = facts_of(info, synced, channels)
    assert named in told.nonsense
    assert row(asked(facts=told), "node").word is Word.WARN


def test_sums_that_no_coins_can_be_are_not_known() -> None:
    assert added([sats(21_000_000 * 10**8), sats(1)]) is None
    assert added([sats(1), None]) is None
    assert added([]) == Msats(0)


@pytest.mark.parametrize(
    ("date", "skew_ms"),
    [
        ("Tue, 14 Nov 2023 22:13:20 GMT", 0),
        ("Tue, 14 Nov 2023 22:13:21 GMT", 0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 59_000),
        ("Tue, 14 Nov 2023 22:12:20 GMT", -59_000),
        ("yesterday", None),
        ("Tue, 99 Nov 2023 22:12:20 GMT", None),
        ("", None),
        (None, None),
    ],
)
def test_a_clock_is_read_from_an_answer_as_far_as_an_answer_tells(date: str | None, skew_ms: int | None) -> None:
    assert skew_of(date, NOW_MS, NOW_MS + 1_000) == skew_ms


@pytest.mark.parametrize(
    ("url", "clear"),
    [
        ("https://lnbits.example.com", False),
        ("http://lnbits.example.com", True),
        ("http://8.8.8.8:5000", True),
        ("http://127.0.0.1:5000", False),
        ("http://100.64.0.2:5000", False),
        ("http://[::1]:5000", False),
        ("http://lnbits:5000", False),
        ("http://node.internal", False),
    ],
)
def test_plain_http_is_a_danger_between_machines_only(url: str, clear: bool) -> None:
    assert is_in_the_clear(URL(url)) is clear


def test_a_name_cannot_move_a_terminals_cursor() -> None:
    assert printable("\x1b[2Jbob\r\n\u202eevil\x00", 60) == "[2Jbob evil"
    assert printable("x" * 1_000, 60) == "x" * 59 + "…"
    assert ago(0, 119_000) == "119 s"
