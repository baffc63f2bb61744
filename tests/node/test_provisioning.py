"""From an empty machine to a node that answers, with stand-ins for what it would install; and again, and after power cuts."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.node.machine import Machine, plan
from tests.node.stand_ins import SEED
from timmy.bootstrap.call_home import Report
from timmy.web.bootstrap_views import report

Make = Callable[..., Machine]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Make]:
    """`machine(state=…, **changes of the plan)`."""
    made: list[Machine] = []

    def make(state: dict[str, Any] | None = None, **changes: Any) -> Machine:
        made.append(Machine(tmp_path / str(len(made)), plan(**changes), **(state or {})))
        return made[-1]

    yield make
    for each in made:
        each.close()


def is_ready(machine: Machine) -> None:
    """Ready, with one wallet whose seed is kept, and told of once or more, but nothing kept that was used up."""
    assert machine.file("var/lib/timmy-node/step").read_text() == "ready\n"
    assert set(machine.state["containers"]) == {"timmy-bitcoind", "timmy-lnd", "timmy-lnbits"}
    known = machine.credentials()
    assert known["LND_SEED"].split() == machine.state["lnd_seed"] == SEED
    assert known["LNBITS_PASSWORD"] == machine.state["lnbits_password"]
    assert (known["LND_ADMIN_MACAROON"], known["LNBITS_ADMIN_KEY"]) == ("020161646d696e", "admin1")
    everywhere = [path for path in machine.root.rglob("*") if path.is_file()]
    for used_up in ("call-home-token", "tskey-auth-1"):
        assert [path for path in everywhere if used_up.encode() in path.read_bytes()] == []


def test_an_empty_machine_becomes_a_node_and_a_second_run_changes_nothing(machine: Make) -> None:
    node = machine()
    told = node.provision()
    assert told.returncode == 0, told.stdout
    is_ready(node)
    assert {heard["headers"].splitlines()[0] for heard in node.state["heard"]} == {"Authorization: Bearer call-home-token"}
    assert {heard["url"] for heard in node.state["heard"]} == {"https://timmy.example/api/bootstrap/b1/call-home"}
    (heard,) = node.state["heard"]
    assert report(heard["body"]) == Report("http://node.tail.example:5000", "node.tail.example"), "the house understands it"
    assert heard["body"]["bitcoin"] == {"blocks": 7, "headers": 9, "pruned": True}
    assert heard["body"]["lnd"] == {"version": "0.20.1", "publicKey": "02" * 33, "syncedToChain": False}
    for secret in ("credentials", "node.env"):
        assert stat.S_IMODE(node.file(f"etc/timmy-node/{secret}").stat().st_mode) == 0o600
    assert stat.S_IMODE(node.file("var/log/timmy-node.log").stat().st_mode) == 0o600
    known = node.credentials()
    assert not any(value in node.log for name, value in known.items() if name != "LNBITS_USERNAME" and len(value) > 8)
    before, containers = len(node.state["calls"]), dict(node.state["containers"])
    # The container made its configuration its own when it started. Another file in its place would be root's, and could not be read.
    conf = node.file("srv/timmy-node/bitcoin/bitcoin.conf")
    inode = conf.stat().st_ino

    told = node.provision()
    assert told.returncode == 0, told.stdout
    is_ready(node)
    changed = [call for call in node.state["calls"][before:] if "run" in call[:2] or "install" in call or call[:2] == ["tailscale", "up"]]
    assert changed == []
    assert (node.state["containers"], node.credentials(), len(node.state["heard"])) == (containers, known, 1)
    assert conf.stat().st_ino == inode
    assert len(node.calls("iptables", "-w", "30", "-I")) == 1
    everything(node)


def everything(node: Machine) -> None:
    """`ops.sh` has a word for each need."""
    assert "block 7 of 9, 2 to go" in node.run("ops.sh", "sync").stdout
    assert node.run("ops.sh", "lnd", "walletbalance").returncode == 0
    assert node.calls("docker", "exec", "timmy-lnd", "lncli")[-1][-1] == "walletbalance"
    assert "http://node.tail.example:5000" in node.run("ops.sh", "lnbits").stdout
    assert "ready" in node.run("ops.sh", "logs").stdout
    told = node.run("ops.sh", "backup")
    archive = Path(told.stdout.splitlines()[0])
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert node.run("ops.sh", "sell").returncode == 2


@pytest.mark.parametrize("cut", [{"die_after": "/v1/initwallet"}, {"die_after": "first_install"}])
def test_a_power_cut_around_the_making_of_a_wallet_loses_nothing(cut: dict[str, Any], machine: Make) -> None:
    node = machine(state=cut)
    assert node.provision().returncode != 0
    told = node.provision()
    assert told.returncode == 0, told.stdout
    is_ready(node)


def test_a_call_that_nobody_answered_is_made_again_and_the_token_is_kept_until_then(machine: Make) -> None:
    node = machine(state={"home": ["000", "503", "200"]})
    told = node.provision(TIMMY_NODE_CALLS_MAX="2")
    assert told.returncode != 0
    assert "call-home-token" in node.file("etc/timmy-node/node.env").read_text()
    assert node.provision(TIMMY_NODE_CALLS_MAX="2").returncode == 0
    assert [call["status"] for call in node.state["heard"]] == ["000", "503", "200"]
    is_ready(node)


def test_no_node_says_that_it_is_ready_while_a_part_of_it_is_silent(machine: Make) -> None:
    node = machine(state={"lnbits_is_ill": True})
    told = node.provision(TIMMY_NODE_PATIENCE_SECONDS="1")
    assert (told.returncode, "waited 1 s for LNbits" in told.stdout) == (1, True), told.stdout
    assert "heard" not in node.state


VOLUME = "/dev/disk/by-id/volume"


def with_disk(node: Machine, content: bytes) -> Path:
    disk = node.file(VOLUME.lstrip("/"))
    disk.parent.mkdir(parents=True)
    disk.write_bytes(content)
    return disk


def test_a_blank_volume_is_formatted_once_and_mounted_by_its_name(machine: Make) -> None:
    node = machine(volume_device=VOLUME)
    with_disk(node, bytes(4 * 2**20))
    for _ in range(2):
        node.state["die_before"] = "network"  # what comes after it is not this test's
        node.provision()
    assert len(node.calls("mkfs.ext4")) == 1
    assert node.file("etc/fstab").read_text().splitlines() == [
        "UUID=1 / ext4 defaults 0 1",
        "UUID=0000-1111 /srv/timmy-node ext4 defaults,nofail,discard,noatime 0 2",
    ]


@pytest.mark.parametrize(
    ("holds", "content"), [("TYPE=xfs", b""), ("PTTYPE=gpt", b""), ("", b"\0" * 5_000 + b"somebody's"), ("TYPE=crypto_LUKS", b"")]
)
def test_a_volume_that_holds_anything_is_never_formatted(holds: str, content: bytes, machine: Make) -> None:
    node = machine(state={"disk": holds}, volume_device=VOLUME)
    disk = with_disk(node, content.ljust(4 * 2**20, b"\0"))
    told = node.provision()
    assert told.returncode == 1
    assert "it is left as it is" in told.stdout
    assert (node.calls("mkfs.ext4"), node.calls("mount"), node.calls("docker")) == ([], [], [])
    assert disk.read_bytes() == content.ljust(4 * 2**20, b"\0")


def test_a_volume_of_an_earlier_node_is_mounted_as_it_is(machine: Make) -> None:
    node = machine(state={"disk": "UUID=ab-cd\nTYPE=ext4", "die_before": "network"}, volume_device=VOLUME)
    with_disk(node, b"a node's")
    node.provision()
    assert (node.calls("mkfs.ext4"), len(node.calls("mount"))) == ([], 1)


def test_packages_of_a_stranger_are_not_installed(machine: Make) -> None:
    node = machine(state={"signer": "0" * 40})
    told = node.provision()
    assert (told.returncode, "not by the key that was pinned" in told.stdout) == (1, True)
    assert not any("tailscale" in word for call in node.calls("apt-get") for word in call)


def test_an_image_without_a_digest_is_not_run(machine: Make) -> None:
    node = machine()
    settings = node.file("etc/timmy-node/node.env")
    settings.write_text(settings.read_text().replace("NODE_LND_IMAGE=", "NODE_LND_IMAGE=lightninglabs/lnd:latest #"))
    told = node.provision()
    assert (told.returncode, "is not pinned by its digest" in told.stdout) == (1, True)
    assert set(node.state["containers"]) == {"timmy-bitcoind"}


def test_another_system_is_refused_before_anything_is_changed(machine: Make) -> None:
    node = machine()
    node.file("etc/os-release").write_text('ID=ubuntu\nVERSION_ID="22.04"\n')
    told = node.provision()
    assert (told.returncode, "made for Ubuntu 24.04" in told.stdout) == (1, True)
    assert node.state["calls"] == []


def test_without_tailscale_lnbits_stays_inside_the_machine(machine: Make) -> None:
    node = machine(tailscale_auth_key=None)
    assert node.provision().returncode == 0
    assert node.calls("tailscale", "up") == []
    assert not any("tailscaleName" in heard["body"] for heard in node.state["heard"])
    published = [word for name in ("timmy-lnd", "timmy-lnbits") for word in node.state["containers"][name]["run"] if word.count(":") >= 1]
    assert "127.0.0.1:5000:5000" in published
    assert "127.0.0.1:8080:8080" in published


def test_lnbits_waits_for_a_lightning_that_is_slow_after_a_restart_of_the_machine(machine: Make) -> None:
    """Else it asks five times in seven seconds, and goes on with a wallet that takes nothing."""
    node = machine()
    assert node.provision().returncode == 0
    settings = node.file("srv/timmy-node/lnbits/lnbits.env").read_text()
    assert "FUNDING_SOURCE_MAX_RETRIES=500\n" in settings


@pytest.mark.parametrize(("system", "wanted"), [('debian"\nVERSION_ID="13', True), ('debian"\nVERSION_ID="12', False)])
def test_there_is_a_docker_command_where_the_archive_has_it_apart(system: str, wanted: bool, machine: Make) -> None:
    node = machine(state={"die_before": "network"})
    node.file("etc/os-release").write_text(f'ID="{system}"\nVERSION_CODENAME=x\n')
    node.provision()
    assert ("docker-cli" in node.state["packages"]) is wanted
