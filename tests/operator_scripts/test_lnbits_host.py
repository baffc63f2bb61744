"""scripts/lnbits-host/provision.sh, in a folder that plays a Debian host."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operator_scripts.host import Host

SCRIPT = "lnbits-host/provision.sh"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    (made.home / "etc").mkdir()
    (made.home / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n')
    python = tmp_path / "bin" / "python3"
    python.write_text((tmp_path / "bin" / "python3.12").read_text())
    python.chmod(0o755)
    yield made
    made.close()


def provision(host: Host, *words: str) -> str:
    told = host.run(SCRIPT, *words, LNBITS_HOST_ROOT=str(host.home), LNBITS_HOST_POLL_SECONDS="0", LNBITS_HOST_PATIENCE_SECONDS="5")
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def test_a_host_gets_lnbits_and_a_second_run_changes_nothing(host: Host) -> None:
    said = provision(host)
    assert "LNbits answers at http://127.0.0.1:5000" in said
    settings = host.home / "etc/lnbits/lnbits.env"
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    settings.write_text(settings.read_text().replace("VoidWallet", "LndRestWallet") + "LND_REST_ENDPOINT=https://lnd:8080\n")
    provision(host)  # the operator's own words have changed, and nothing else
    files, before = host.files(), len(host.changes())
    provision(host)
    assert host.files() == files
    assert "LNBITS_BACKEND_WALLET_CLASS=LndRestWallet" in settings.read_text()
    again = host.changes()[before:]
    assert not any("restart" in call or "pip" in call or "-m" in call for call in again), again


def test_a_dry_run_does_nothing(host: Host) -> None:
    files = host.files()
    said = provision(host, "--dry-run")
    assert "would run: apt-get" in said
    assert "would write: /etc/lnbits/lnbits.env (600)" in said
    assert (host.files(), [call for call in host.changes() if call[0] != "id"]) == (files, [])


def test_the_data_stay_unless_one_says_that_there_are_no_sats(host: Host) -> None:
    provision(host)
    said = provision(host, "--uninstall")
    assert "are still there" in said
    assert (host.home / "etc/lnbits/lnbits.env").exists()
    assert not (host.home / "etc/systemd/system/lnbits.service").exists()
    assert not any("DROP DATABASE" in word for call in host.state["calls"] for word in call)
    provision(host, "--uninstall", "--delete-data-there-are-no-sats-in-it")
    assert any("DROP DATABASE IF EXISTS lnbits" in word for call in host.state["calls"] for word in call)
    assert not (host.home / "etc/lnbits").exists()


def test_a_system_that_has_no_fitting_python_is_refused(host: Host) -> None:
    (host.home / "etc/os-release").write_text('ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian 13"\n')
    told = host.run(SCRIPT, LNBITS_HOST_ROOT=str(host.home))
    assert (told.returncode, "This is Debian 13" in told.stderr) == (1, True)
    assert host.changes() == []
