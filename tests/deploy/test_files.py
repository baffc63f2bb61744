"""What is in deploy/ is read by those that it is written for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.node.debian_tools import compose
from tests.tidy.tree import ROOT
from timmy.bootstrap.node_plan import Parts
from timmy.settings import Settings

DEPLOY = ROOT / "deploy"
FILLED = {
    line.partition("=")[0]: "ab" * 24
    for line in (DEPLOY / "compose.env.example").read_text().splitlines()
    if "=" in line and not line.startswith("#")
}


@pytest.mark.real
def test_the_compose_file_is_one(tmp_path: Path) -> None:
    told = compose("-f", str(DEPLOY / "compose.yaml"), "config", environ=FILLED, folder=tmp_path)
    assert told.returncode == 0, told.stderr
    services = yaml.safe_load(told.stdout)["services"]
    assert set(services) == {"timmy", "postgres", "lnbits"}
    published = [port["host_ip"] for service in services.values() for port in service.get("ports", [])]
    assert set(published) == {"127.0.0.1"}, "Docker would publish past the firewall"
    unknown = set(services["timmy"]["environment"]) - {row.name for row in Settings().rows()}
    assert unknown == set()


def test_lnbits_is_given_the_certificate_that_it_is_told_of() -> None:
    lnbits = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["lnbits"]
    (bound,) = (one for one in lnbits["volumes"] if isinstance(one, dict))
    assert (bound["type"], bound["read_only"]) == ("bind", True)
    assert bound["source"] == "${LND_REST_CERT:-/dev/null}"
    assert lnbits["environment"]["LND_REST_CERT"] == f"${{LND_REST_CERT:+{bound['target']}}}"


@pytest.mark.real
@pytest.mark.parametrize("missing", ["TIMMY_DB_PASSWORD", "TIMMY_TOKEN_SECRET", "ADMIN_TOKEN", "PUBLIC_URL"])
def test_the_compose_file_starts_nothing_without_its_secrets(missing: str, tmp_path: Path) -> None:
    told = compose("-f", str(DEPLOY / "compose.yaml"), "config", "-q", environ={**FILLED, missing: ""}, folder=tmp_path)
    assert told.returncode != 0
    assert missing in told.stderr


def test_images_are_pinned_and_the_same_as_a_nodes() -> None:
    images = re.findall(r"^\s+image: (?!timmy:local)(\S+)", (DEPLOY / "compose.yaml").read_text(), re.MULTILINE)
    images += re.findall(r"^ARG PYTHON=(\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert len(images) == 3
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", image) for image in images)
    assert Parts().lnbits in images


def test_the_image_runs_as_nobody_in_particular_and_carries_no_secrets() -> None:
    recipe = (DEPLOY / "Dockerfile").read_text()
    last = recipe.split("\nFROM ")[-1]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "COPY --from=build" in last
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*", "what is not named is not sent to the builder"
    copied = set(" ".join(re.findall(r"^COPY (?!--from)(.*) \S+$", recipe, re.MULTILINE)).split())
    assert {f"!{name}" for name in copied} == {line for line in ignored if line.startswith("!")}


def test_shell_in_deploy_passes_shellcheck() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    told = subprocess.run([shellcheck, DEPLOY / "databases.sh"], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, "")


def test_settings_that_the_papers_of_deploy_name_exist() -> None:
    known = {row.name for row in Settings().rows()}
    for name in ("timmy.service", "nginx.conf", "Caddyfile"):
        named = set(re.findall(r"\b(TRUSTED_PROXIES|DATA_DIR|LOG_FORMAT|MAX_\w+|PUBLIC_URL)\b", (DEPLOY / name).read_text()))
        assert named
        assert named <= known, name


def test_the_proxies_do_not_believe_what_a_client_says_of_itself() -> None:
    nginx, caddy = (DEPLOY / "nginx.conf").read_text(), (DEPLOY / "Caddyfile").read_text()
    assert "X-Forwarded-For   $remote_addr;" in nginx
    assert "proxy_add_x_forwarded_for" not in nginx
    assert "header_up X-Forwarded-For {remote_host}" in caddy
    assert re.search(r"proxy_buffering\s+off;", nginx)
    assert "flush_interval -1" in caddy


def test_the_nightly_backup_names_its_file_by_the_moment(tmp_path: Path) -> None:
    """As systemd would run it: with its own signs read, and the folder and the program of a machine put in."""
    unit = (DEPLOY / "timmy-backup.service").read_text()
    found = re.search(r"^ExecStart=/bin/sh -c '(.*)'$", unit, re.MULTILINE)
    assert found
    line = found[1].replace("$$", "$").replace("%%", "%")
    assert "/srv/timmy/.venv/bin/timmy backup /var/backups/timmy/" in line
    line = line.replace("/srv/timmy/.venv/bin/timmy", "echo")
    told = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"backup /var/backups/timmy/timmy-\d{4}-\d\d-\d\d-\d{6}\.tar\.gz\n", told.stdout)
    served = (DEPLOY / "timmy.service").read_text()
    for same in ("User=timmy", "EnvironmentFile=/etc/timmy/timmy.env", "Environment=DATA_DIR=/var/lib/timmy"):
        assert same in unit
        assert same in served, "it backs up what is served"


def test_what_the_papers_tell_to_copy_is_there() -> None:
    told = " ".join((ROOT / "docs/how-to" / name).read_text() for name in ("deploy.md", "backup.md", "own-node.md"))
    named = set(re.findall(r"\b(?:deploy|scripts)/[\w./-]*\w", told)) - {"deploy/compose.env"}  # which the reader makes
    assert len(named) > 5
    assert sorted(name for name in named if not (ROOT / name).exists()) == []
