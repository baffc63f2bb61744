"""What a new machine is handed: a valid document, sound programs, and values that stay values."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.node.debian_tools import cloud_init_schema
from tests.node.machine import KEY, plan
from timmy.bootstrap import cloud_init
from timmy.bootstrap.cloud_init import PROGRAMS, SETTINGS, render
from timmy.bootstrap.node_plan import NodePlan, Parts

PLANS = {
    "the usual": plan(),
    "a volume": plan(volume_device="/dev/disk/by-id/scsi-0DO_Volume_n1", disk_gb=100),
    "no Tailscale": plan(tailscale_auth_key=None, network="signet"),
    "many keys": plan(ssh_public_keys=(KEY, KEY, "ssh-rsa " + "B" * 700 + '= it\'s "mine" #1: {%}'), network="regtest", disk_gb=10),
}
AWKWARD = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="\xa0"), min_size=1, max_size=60)


def written(document: str) -> dict[str, str]:
    """Path → content, as cloud-init would write it."""
    entries = yaml.safe_load(document)["write_files"]
    return {e["path"]: base64.b64decode(e["content"]).decode() if e.get("encoding") == "b64" else e["content"] for e in entries}


@pytest.mark.real
@pytest.mark.parametrize("name", PLANS)
def test_the_document_passes_cloud_inits_own_check(name: str, tmp_path: Path) -> None:
    document = tmp_path / "user-data"
    document.write_text(render(PLANS[name]))
    told = cloud_init_schema(document)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.real
def test_that_check_would_see_a_word_that_means_nothing(tmp_path: Path) -> None:
    document = tmp_path / "user-data"
    document.write_text(render(plan()).replace("runcmd:", "runcdm:"))
    assert cloud_init_schema(document).returncode == 1


def test_the_programs_pass_shellcheck(tmp_path: Path) -> None:
    for path, content in written(render(plan())).items():
        if path.endswith(".sh"):
            (tmp_path / Path(path).name).write_text(content)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    told = subprocess.run(
        [shellcheck, "-x", "-P", "SCRIPTDIR", *sorted(tmp_path.glob("*.sh"))], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stdout) == (0, "")
    assert {path.name for path in tmp_path.glob("*.sh")} == set(PROGRAMS)


def test_what_travels_is_what_is_in_the_package() -> None:
    files = written(render(plan()))
    for name in PROGRAMS:
        assert files[f"{cloud_init.HOME}/{name}"] == cloud_init.program(name)


def test_only_root_reads_what_is_secret() -> None:
    entries = {entry["path"]: entry for entry in yaml.safe_load(render(plan()))["write_files"]}
    assert (entries[SETTINGS]["permissions"], entries[SETTINGS]["owner"]) == ("0600", "root:root")
    open_to_all = {path: entry["content"] for path, entry in entries.items() if path != SETTINGS}
    assert not any(secret in text for text in open_to_all.values() for secret in ("tskey-auth-1", "call-home-token"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(token=AWKWARD, tailscale=AWKWARD, comment=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_no_value_ends_a_string_a_line_or_a_document(token: str, tailscale: str, comment: str, tmp_path: Path) -> None:
    wanted = plan(call_home_token=token, tailscale_auth_key=tailscale, ssh_public_keys=(f"{KEY} {comment}",))
    document = yaml.safe_load(render(wanted))
    usual = yaml.safe_load(render(plan()))
    assert document["ssh_authorized_keys"] == list(wanted.ssh_public_keys)
    assert {key: document[key] for key in document if key not in ("write_files", "ssh_authorized_keys")} == {
        key: usual[key] for key in usual if key not in ("write_files", "ssh_authorized_keys")
    }
    env = tmp_path / "node.env"
    env.write_text(written(render(wanted))[SETTINGS])
    show = 'set -eu; . "$1"; printf "%s\\0%s\\0%s" "$NODE_CALL_HOME_TOKEN" "$NODE_TAILSCALE_KEY" "$NODE_NETWORK"'
    told = subprocess.run(["bash", "-c", show, "bash", str(env)], capture_output=True, check=True, cwd=tmp_path)
    assert told.stdout.decode().split("\0") == [token, tailscale, "mainnet"]
    assert [path.name for path in tmp_path.iterdir()] == ["node.env"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"hostname": "a b"},
        {"hostname": 'x"\nruncmd: [reboot]'},
        {"hostname": "-x"},
        {"network": "testnet"},
        {"disk_gb": 39},
        {"ssh_public_keys": ()},
        {"ssh_public_keys": (KEY + "\nssh-ed25519 AAAA another",)},
        {"ssh_public_keys": ('command="reboot" ' + KEY,)},
        {"ssh_public_keys": ("-----BEGIN OPENSSH PRIVATE KEY-----",)},
        {"call_home_url": "file:///etc/passwd"},
        {"call_home_url": "https://[broken"},
        {"call_home_url": "https://x.example/\n-o /etc/cron.d/x"},
        {"call_home_token": ""},
        {"call_home_token": "a\r\nX-Other: b"},
        {"tailscale_auth_key": "a\0b"},
        {"volume_device": "/dev/sda; reboot"},
        {"volume_device": "/etc/passwd"},
    ],
)
def test_a_plan_that_could_not_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        plan(**wrong)


def test_nothing_runs_that_is_not_pinned() -> None:
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", image) for image in (Parts().bitcoin, Parts().lnd, Parts().lnbits))
    for image in ("bitcoin/bitcoin:29.1", "bitcoin/bitcoin@sha256:" + "0" * 63, "bitcoin/bitcoin:latest"):
        with pytest.raises(ValueError, match="not pinned"):
            replace(Parts(), bitcoin=image)


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"disk_gb": 40}, range(550, 15_000)),
        ({"disk_gb": 80}, range(20_000, 45_000)),
        ({"disk_gb": 80, "volume_device": "/dev/sda"}, range(30_000, 50_000)),
        ({"disk_gb": 1_199}, range(100_000, 100_001)),
        ({"disk_gb": 1_200}, range(1)),
        ({"network": "regtest", "disk_gb": 10}, range(1)),
    ],
)
def test_the_chain_is_pruned_where_the_disk_is_small(changes: dict[str, Any], kept: range) -> None:
    assert plan(**changes).prune_mib in kept


def test_the_same_plan_gives_the_same_bytes_and_a_cloud_takes_them() -> None:
    wanted: NodePlan = PLANS["many keys"]
    assert render(wanted) == render(wanted)
    assert len(render(wanted).encode()) < cloud_init.DOCUMENT_BYTES_MAX
    with pytest.raises(ValueError, match="fewer SSH keys"):
        render(plan(ssh_public_keys=(KEY,) * 600))


def test_secrets_are_not_in_what_a_log_would_say_of_a_plan() -> None:
    assert not any(secret in repr(plan()) for secret in ("tskey-auth-1", "call-home-token"))
    assert json.dumps(KEY)[1:-1] in repr(plan())
