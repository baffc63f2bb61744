"""`timmy node-status`: how it ends, and what it says when the wallet cannot even be opened."""

from __future__ import annotations

import json
from collections.abc import Callable

import jsonschema_rs
import pytest
from scripts import openapi
from tests.unit.test_cli import Run, ends_with, ledger_at, park_one, received, run

from timmy.regtest.processes import free_ports

__all__ = ["ledger_at", "run"]


def test_a_node_that_is_well_ends_with_0(run: Run, ledger_at: Callable[..., None]) -> None:
    ledger_at()
    code, out, err = run("node-status")
    assert (code, err) == (0, "")
    assert "builtin answers, on regtest" in out
    assert "The node is well." in out


def test_what_wants_somebody_before_long_ends_with_1(run: Run, ledger_at: Callable[..., None]) -> None:
    ledger_at(park_one)
    code, out, _ = run("node-status")
    assert code == 1
    assert "tasks: timmy tasks says why. Mend that, then: timmy tasks retry execute/job_1." in out


def test_what_does_not_work_ends_with_2_and_the_document_is_that_of_http(run: Run, ledger_at: Callable[..., None]) -> None:
    ledger_at(received(21_500))
    code, out, _ = run("node-status", "--json")
    told = json.loads(out)
    document = openapi.describe()
    jsonschema_rs.validate({"$ref": "#/components/schemas/NodeStatus", "components": document["components"]}, told)
    failed = {check["name"]: check for check in told["checks"] if check["status"] == "fail"}
    assert (code, told["status"], set(failed)) == (2, "fail", {"liquidity_out", "balance"})
    assert "Put in at least 22 sats" in failed["liquidity_out"]["hint"]
    assert told["books"]["owedMsat"] == 21_500


@pytest.mark.fault("G01")
@pytest.mark.parametrize(
    ("wallet", "settings", "hint"),
    [
        ("lnbits", {"LNBITS_URL": "http://127.0.0.1:{port}", "LNBITS_API_KEY": "5ecret-of-the-wallet"}, "/api/v1/health"),
        ("electrum", {"ELECTRUM_URL": "http://me:5ecret-of-the-wallet@127.0.0.1:{port}"}, "electrum getinfo"),
        ("nwc", {"NWC_URI": "nostr+walletconnect://" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
                            "?relay=ws://127.0.0.1:{port}&secret=" + "5e" * 32}, "the relay in NWC_URI"),
    ],
)  # fmt: skip
def test_a_wallet_that_cannot_be_opened_is_a_row_and_not_an_end(
    run: Run, ledger_at: Callable[..., None], monkeypatch: pytest.MonkeyPatch, wallet: str, settings: dict[str, str], hint: str
) -> None:
    ledger_at()
    port = free_ports(1)[0]
    monkeypatch.setenv("WALLET", wallet)
    for name, value in settings.items():
        monkeypatch.setenv(name, value.format(port=port))
    code, out, err = run("node-status")
    assert code == 2
    assert "fail" in next(line for line in out.splitlines() if line.startswith("wallet"))
    assert hint in out
    assert "they close" in out, "the books are told of all the same"
    assert "5ecret" not in out + err
    assert "5e" * 32 not in out + err


def test_where_no_server_has_run_there_is_nothing_to_say(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = ends_with(["node-status"], capsys, monkeypatch)
    assert (code, "DATA_DIR" in err) == (2, True)
