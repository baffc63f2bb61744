"""The part of the provisioning that speaks to LNbits, against a real one: both on a first run, and on one that was cut short."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from timmy.regtest.install import install_lnbits
from timmy.regtest.lnbits import LnbitsServer
from timmy.regtest.parts import silent

PROGRAMS = str(files("timmy.bootstrap.cloud_init").joinpath("node"))
LNBITS_KEYS = 'set -euo pipefail; . "$1/lib.sh"; . "$1/services.sh"; mkdir -p "$ETC" "$STATE"; lnbits_answers >/dev/null; lnbits_keys'


@pytest.fixture(scope="module")
def fresh_lnbits() -> Iterator[LnbitsServer]:
    """One whose first page was not seen by anybody yet."""
    server = LnbitsServer(install_lnbits(progress=silent))
    packages = next((server._lab.lnbits() / "lib").glob("python3*/site-packages"))
    (server._directory / "lnbits").symlink_to(packages / "lnbits")
    server._spawn()
    yield server
    server.stop()


def make_keys(server: LnbitsServer, root: Path) -> dict[str, str]:
    environ = {**os.environ, "TIMMY_NODE_ROOT": str(root), "TIMMY_NODE_LNBITS_URL": server.url, "TIMMY_NODE_POLL_SECONDS": "1"}
    told = subprocess.run(
        ["bash", "-c", LNBITS_KEYS, "bash", PROGRAMS], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    lines = (root / "etc/timmy-node/credentials").read_text().splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


@pytest.mark.real
def test_a_real_lnbits_gives_its_keys_to_the_first_run_and_to_one_that_goes_on_from_it(fresh_lnbits: LnbitsServer, tmp_path: Path) -> None:
    credentials = tmp_path / "etc/timmy-node/credentials"
    credentials.parent.mkdir(parents=True)
    credentials.write_text(f"LNBITS_INSTALL_TOKEN={fresh_lnbits._first_install_token}\n")
    first = make_keys(fresh_lnbits, tmp_path)
    assert len(first["LNBITS_ADMIN_KEY"]) == len(first["LNBITS_INVOICE_KEY"]) == 32
    assert make_keys(fresh_lnbits, tmp_path) == first

    kept = [line for line in credentials.read_text().splitlines() if "_KEY" not in line]  # the power went before the keys were kept
    credentials.write_text("\n".join(kept) + "\n")
    assert len(make_keys(fresh_lnbits, tmp_path)["LNBITS_ADMIN_KEY"]) == 32
