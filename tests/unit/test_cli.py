"""The command line: what it says, where it says it, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from timmy import __version__
from timmy.cli import app, main
from timmy.cli.buyer import as_typed
from timmy.cli.screen import sats
from timmy.client import AsyncTimmy, Notebook, Timmy
from timmy.client import store as client_store
from timmy.clock import SystemClock
from timmy.db import Tx, open_database
from timmy.ledger import Code, Move, chart, commit
from timmy.lightning import store
from timmy.lightning.payouts import BREAKER
from timmy.money import Msats
from timmy.tasks import NewTask, add
from timmy.tasks import store as task_store

AT_MS = 1_700_000_000_000

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("config", "--json")` → exit code, standard output, standard error; as typed in a shell, in an empty folder, with nothing set."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOST", "PORT", "WALLET", "PROVIDER", "DATABASE_URL", "ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))

    def typed(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["timmy", *words])
        result = CliRunner().invoke(app, list(words), catch_exceptions=False)
        return result.exit_code, result.stdout, result.stderr

    return typed


@pytest.fixture
def ledger_at(tmp_path: Path) -> Callable[..., None]:
    """Writes into the database that the commands look at."""

    def write(*writes: Callable[[Tx], object]) -> None:

        async def all_of_them() -> None:
            db = open_database(f"sqlite:///{tmp_path}/data/timmy.db")
            try:
                for each in writes:
                    await db.write(each)
            finally:
                await db.aclose()

        asyncio.run(all_of_them())

    return write


def received(amount: int) -> Callable[[Tx], object]:
    move = Move("invoice/inv_1/received", chart.LIGHTNING, chart.owed("job_1"), Msats(amount), Code.PAYMENT_RECEIVED)
    return lambda tx: commit(tx, AT_MS, move)


def park_one(tx: Tx) -> None:
    add(tx, [NewTask("execute", "job_1", AT_MS)])
    row = task_store.claim(tx, ["execute"], AT_MS, AT_MS + 1, 1)[0]
    assert task_store.park(tx, row["id"], row["fence"], "the model was renamed")


def ends_with(words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> tuple[object, str, str]:
    monkeypatch.setattr(sys, "argv", ["timmy", *words])
    with pytest.raises(SystemExit) as end:
        main()
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def test_every_command_has_help(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for command in ("serve", "demo", "config", "ledger", "refunds", "tasks", "testkit", "regtest"):
        assert command in out
        assert run(command, "--help")[0] == 0


def test_it_tells_its_version(run: Run) -> None:
    assert run("--version") == (0, f"{__version__}\n", "")


def test_config_tells_each_value_and_where_it_came_from(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARGIN_PCT", "25")
    code, out, _ = run("config", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert (rows["MARGIN_PCT"]["value"], rows["MARGIN_PCT"]["default"], rows["MARGIN_PCT"]["source"]) == ("25", "40", "environment")
    assert rows["EVAL_FEE_SATS"]["source"] == "default"


def test_config_can_show_only_what_was_changed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARGIN_PCT", "25")
    assert {row["name"] for row in json.loads(run("config", "--changed", "--json")[1])} >= {"MARGIN_PCT", "DATA_DIR"}
    assert "EVAL_FEE_SATS" not in run("config", "--changed")[1]


@pytest.mark.fault("G01")
def test_config_shows_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", "correct-horse-battery-staple")
    for words in (["config"], ["config", "--json"], ["config", "--explain"]):
        code, out, err = run(*words)
        assert code == 0
        assert "correct-horse" not in out + err
        assert "ADMIN_TOKEN" in out


def test_a_setting_that_makes_no_sense_is_one_sentence_and_exit_code_2(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARGIN_PCT", "-1")
    monkeypatch.setenv("PORT", "much")
    code, out, err = ends_with(["config"], capsys, monkeypatch)
    assert (code, out) == (2, "")
    assert [line.split()[0] for line in err.splitlines()] == ["PORT", "MARGIN_PCT"]
    assert "Traceback" not in err


def test_a_look_at_the_money_makes_no_ledger_where_there_is_none(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pay = ["refunds", "pay", "job_1", "you@wallet.example", "--reason", "by letter"]
    call_off = ["refunds", "resolve", "pay_1", "--call-off", "--reason", "by letter"]
    for words in (["ledger", "verify"], ["refunds", "list"], ["tasks"], ["reconcile"], ["node-status"], ["nodes"], pay, call_off):
        code, _, err = ends_with(words, capsys, monkeypatch)
        assert code == 2, words
        assert "DATA_DIR" in err
    assert not (tmp_path / "data").exists()


def test_a_look_at_an_older_ledger_leaves_it_as_it_is_and_says_what_to_do(
    run: Run, ledger_at: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger_at(received(21_500), lambda tx: tx.run("DELETE FROM schema_migrations WHERE name LIKE '0011%'"))
    for words in (["ledger", "verify"], ["refunds", "list"], ["refunds", "pause"], ["tasks"], ["pool", "status"]):
        code, _, err = ends_with(words, capsys, monkeypatch)
        assert code == 2, words
        assert "timmy serve" in err
    with closing(sqlite3.connect(tmp_path / "data" / "timmy.db")) as raw:
        assert raw.execute("SELECT COUNT(*) FROM schema_migrations WHERE name LIKE '0011%'").fetchone() == (0,)


def test_ledger_verify_says_that_the_books_close(run: Run, ledger_at: Callable[..., None]) -> None:
    ledger_at(received(21_500))
    code, out, _ = run("ledger", "verify")
    assert code == 0
    assert "owed/… (1)" in out
    assert "21.5" in out
    assert "BROKEN" not in out
    assert "The books close." in out


def test_ledger_verify_ends_with_1_and_names_what_is_broken(run: Run, ledger_at: Callable[..., None]) -> None:
    ledger_at(received(21_500), lambda tx: tx.run("UPDATE accounts SET balance_msat = balance_msat + 1 WHERE id = 'owed/job_1'"))
    code, out, _ = run("ledger", "verify", "--json")
    broken = {check["name"]: check["found"] for check in json.loads(out)["checks"] if not check["holds"]}
    assert code == 1
    assert json.loads(out)["ok"] is False
    assert broken["all accounts sum to zero"] == "1 msat"
    assert broken["every balance is the sum of its transfers"] == "owed/job_1"
    assert "BROKEN" in run("ledger", "verify")[1]


def test_a_settled_invoice_that_was_not_credited_is_found(run: Run, ledger_at: Callable[..., None]) -> None:
    ask = {"id": "inv_9", "purpose": "job_eval", "subject": "job_9", "account": "job/job_9", "amount_msat": 1000}
    times = {"created_at_ms": AT_MS, "expires_at_ms": AT_MS, "look_at_ms": AT_MS}
    opened = {"id": "inv_9", "payment_hash": "ab" * 32, "payment_request": "lnbcrt1", "expires_at_ms": AT_MS, "look_at_ms": AT_MS}
    ledger_at(
        lambda tx: store.insert_invoices(tx, [{**ask, **times}]),
        lambda tx: store.open_invoices(tx, [opened]),
        lambda tx: store.mark_settled(tx, [{"id": "inv_9", "received_msat": 1000, "at_ms": AT_MS}]),
    )
    code, out, _ = run("ledger", "verify")
    assert code == 1
    assert "BROKEN  every settled invoice is credited with what arrived: inv_9" in out


def test_refunds_shows_what_is_owed_and_to_whom(run: Run, ledger_at: Callable[..., None]) -> None:
    ledger_at(received(21_500))
    code, out, _ = run("refunds", "list")
    assert code == 0
    assert "job_1" in out
    assert "21.5" in out
    assert json.loads(run("refunds", "list", "--json")[1])["owed"] == [{"to": "job_1", "msat": 21_500}]


def test_payouts_are_paused_for_every_server_and_go_on(run: Run, ledger_at: Callable[..., None]) -> None:
    ledger_at(received(21_500))
    assert run("refunds", "pause", "the node moves")[0] == 0
    reasons: list[object] = []
    ledger_at(lambda tx: reasons.append((store.breaker(tx, BREAKER) or {}).get("reason")))
    assert reasons == ["the node moves"]
    assert "PAUSED" in run("refunds", "list")[1]
    assert "go on" in run("refunds", "resume")[1]
    assert "were not paused" in run("refunds", "resume")[1]
    assert "PAUSED" not in run("refunds", "list")[1]


def test_a_parked_task_is_shown_with_its_trouble_and_tried_again(run: Run, ledger_at: Callable[..., None]) -> None:
    ledger_at(park_one)
    code, out, _ = run("tasks")
    assert code == 1
    assert "execute/job_1" in out
    assert "the model was renamed" in out
    assert run("tasks", "retry", "execute/job_1")[:2] == (0, "execute/job_1 will be tried again.\n")
    assert run("tasks")[0] == 0
    assert run("tasks", "retry", "execute/job_1")[0] == 2


def test_all_parked_tasks_are_tried_again_at_once(run: Run, ledger_at: Callable[..., None]) -> None:
    ledger_at(park_one)
    assert run("tasks", "retry")[0] == 2
    assert run("tasks", "retry", "--all")[0] == 0
    claimed: list[object] = []
    ledger_at(lambda tx: claimed.extend(task_store.claim(tx, ["execute"], SystemClock().now_ms(), 2**62, 9)))
    assert len(claimed) == 1


def test_testkit_says_that_nobody_answers(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    code, _, err = run("testkit", f"http://127.0.0.1:{port}")
    assert code == 2
    assert "Is a Timmy running there?" in err


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://127.0.0.1:99999", "http://127.0.0.1:84o2", "http://[::1"])
def test_an_address_that_is_none_is_one_sentence(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TIMMY_HOME", str(tmp_path / "buyer"))
    for words in (["ask", "What?", "--server", url], ["login", "--server", url], ["session", "list", "--server", url], ["testkit", url]):
        code, _, err = run(*words)
        assert (code, len(err.splitlines())) == (2, 1), words
    assert run("testkit", "http://a b")[0] == 2


def test_no_address_at_all_is_told_like_a_wrong_one(tmp_path: Path) -> None:
    nothing: Any = None
    for make in (Timmy, AsyncTimmy):
        with pytest.raises(ValueError, match="The address of a Timmy looks like"):
            make(nothing, notebook=tmp_path / "notebook.sqlite")


def test_what_is_said_at_a_terminal_can_be_typed() -> None:
    assert as_typed("It may still arrive. Look again with resume().") == "It may still arrive. Look again with timmy ask --resume."


def test_a_key_is_for_a_path(run: Run) -> None:
    code, _, err = run("session", "attenuate", "--only", "chat")
    assert code == 2
    assert "/v1/chat/completions" in err


def test_a_port_that_is_taken_is_one_sentence_and_exit_code_2(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("PORT", str(taken.getsockname()[1]))
        code, _, err = ends_with(["serve"], capsys, monkeypatch)
    assert code == 2
    assert "choose another HOST or PORT" in err
    assert err.count("in use") == 1
    assert "Traceback" not in err


def test_amounts_are_exact_for_people() -> None:
    assert [sats(msat) for msat in (0, 1, 500, 1_000, -3_001, 12_345_678_900)] == ["0", "0.001", "0.5", "1", "-3.001", "12,345,678.9"]


def test_python_m_timmy_is_timmy() -> None:
    ran = subprocess.run([sys.executable, "-m", "timmy", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == __version__


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["timmy", "se"], {"session", "serve"}),
        (["timmy", "session", "at"], {"attenuate"}),
        (["timmy", "ask", "--wal"], {"--wallet"}),
        (["timmy", "receipt", "verify", "--bo"], {"--body"}),
    ],
)
def test_a_shell_completes_what_is_typed(typed: list[str], offered: set[str]) -> None:
    """Through bash itself, with the script that `timmy --install-completion` puts into place."""
    folder = str(Path(sys.executable).parent)
    environ = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    printing = {**environ, "_TIMMY_COMPLETE": "source_bash"}  # what --show-completion does once it knows which shell this is
    made = subprocess.run(["timmy"], env=printing, capture_output=True, text=True, check=True, timeout=60)
    words = " ".join(shlex.quote(word) for word in typed)
    asked = f'COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; _timmy_completion timmy; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", f"{made.stdout}\n{asked}"], env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split()) == offered


def test_what_was_refused_is_listed_as_that_and_the_newest_first(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMMY_HOME", str(tmp_path / "buyer"))
    notebook = Notebook()

    async def bought() -> None:
        for n, (kind, body) in enumerate((("job", {"request": "first"}), ("session", {"amountSats": 500}), ("job", {"request": "last"}))):
            made = {"url": "http://t.example", "kind": kind, "subject": None, "most_msat": None, "now_ms": AT_MS + n}
            await notebook.do(client_store.insert_purchase, id=f"buy_{n}", body=json.dumps(body), **made)
        await notebook.drop("buy_0", "too long")
        await notebook.do(client_store.end_purchase, "buy_1", "{}", AT_MS)

    asyncio.run(bought())
    code, out, _ = run("receipt", "list")
    words = [line.split() for line in out.splitlines()[1:]]
    assert code == 0
    assert [(line[0], line[3]) for line in words] == [("buy_2", "not"), ("buy_1", "-"), ("buy_0", "refused")]
