"""A backup is taken while customers pay and the house works, and brought back somewhere else: everybody's sats are there."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sqlite3
import stat
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from tests.chaos.serve import ENDS, PATIENCE_SECONDS, Customer, Server
from timmy.app import archive
from timmy.app.archive import KEPT_SECRETS
from timmy.app.books import all_checks
from timmy.db import Tx, open_database
from timmy.settings import Settings

REQUESTS = ("What is 6 * 7?", "please write at length", "please fail", "please reject this")
DEPOSIT_SATS = 500


def timmy(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    """Typed on the server's machine."""
    command = [sys.executable, "-m", "timmy", *words]
    return subprocess.run(command, env=server._environ, cwd=server._folder, capture_output=True, text=True, timeout=120, check=False)


class Prepaid(Customer):
    """Opens a session, and asks from it until told to stop."""

    macaroon = ""
    session: Mapping[str, Any] = {}
    asked = 0

    async def spend(self, stop: asyncio.Event) -> None:
        self.session = await self._post("/api/sessions", {"amountSats": DEPOSIT_SATS})
        path = f"/api/sessions/{self.session['sessionId']}"
        await self._pay(self.session["invoice"])
        while not self.macaroon:
            self.macaroon = (await self._ask("GET", path)).get("macaroon") or ""
        while not stop.is_set() and self.asked < 20:
            await self.ask()
            self.asked += 1

    async def ask(self) -> dict[str, Any]:
        path = f"/api/sessions/{self.session['sessionId']}/request"
        return await self._post(path, {"request": "What is 6 * 7?"}, headers={"Authorization": f"Bearer {self.macaroon}"})


async def live_on(http: aiohttp.ClientSession, server: Server, n: int, stop: asyncio.Event, met: list[Customer]) -> None:
    turn = 0
    while not stop.is_set():
        customer = Customer(http, [server], f"customer {n}, order {turn}", REQUESTS[(n + turn) % len(REQUESTS)])
        met.append(customer)
        await customer.live()
        turn += 1


def settled_and_states(tx: Tx) -> tuple[dict[str, int], dict[str, str]]:
    paid = tx.all("SELECT subject, SUM(amount_msat) AS msat FROM invoices WHERE state = 'settled' GROUP BY subject")
    jobs = tx.all("SELECT id, state FROM jobs")
    return {row["subject"]: int(row["msat"]) for row in paid}, {row["id"]: row["state"] for row in jobs}


def unfinished(tx: Tx) -> list[str]:
    return [row["id"] for row in tx.all("SELECT id FROM jobs WHERE state IN ('evaluating', 'executing') LIMIT 5")]


@pytest.fixture(params=["sqlite", "postgres"])
def two_places(request: pytest.FixtureRequest) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Where it was, and where it shall be: what differs in the environment."""
    if request.param == "sqlite":
        yield {}, {}
        return
    url: str = request.getfixturevalue("postgres_url")
    with psycopg.connect(url, autocommit=True) as admin:
        name = admin.info.dbname
        admin.execute(f"CREATE DATABASE {name}_again".encode())
    yield {"DATABASE_URL": url}, {"DATABASE_URL": url.replace(f"/{name}", f"/{name}_again")}
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name}_again WITH (FORCE)".encode())


async def test_a_backup_under_load_brings_every_customers_sats_back(
    two_places: tuple[dict[str, str], dict[str, str]], tmp_path: Path
) -> None:
    server, elsewhere = Server(two_places[0], tmp_path / "here"), Server(two_places[1], tmp_path / "there")
    file, stop = tmp_path / "timmy.backup", asyncio.Event()
    async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as http:
        await server.start()
        met: list[Customer] = []
        prepaid = [Prepaid(http, [server], f"prepaid {n}", "") for n in range(2)]
        living = [asyncio.create_task(live_on(http, server, n, stop, met)) for n in range(4)]
        living += [asyncio.create_task(each.spend(stop)) for each in prepaid]
        try:
            while not all(each.asked for each in prepaid) or len(met) < 6:
                await asyncio.sleep(0.05)
                for task in living:
                    if task.done():  # who has spent all of it is done early; who broke says why
                        task.result()
            known = {each.job_id: (await each.until(lambda job: True))["state"] for each in met if each.job_id}
            taken = await asyncio.to_thread(timmy, server, "backup", str(file), "--json")
            assert taken.returncode == 0, taken.stdout + taken.stderr
            stop.set()
            await asyncio.gather(*living)
        finally:
            await server.kill()

        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        restored = await asyncio.to_thread(timmy, elsewhere, "restore", str(file), "--json")
        assert restored.returncode == 0, restored.stdout + restored.stderr
        assert json.loads(restored.stdout)["ok"] is True
        kept = [secret for secret in KEPT_SECRETS if (server._folder / secret).exists()]
        assert {"token_secret", "receipt_key"} <= set(kept)
        for secret in kept:
            assert (elsewhere._folder / secret).read_bytes() == (server._folder / secret).read_bytes()
        assert (await asyncio.to_thread(timmy, elsewhere, "ledger", "verify")).returncode == 0

        url = two_places[1].get("DATABASE_URL", f"sqlite:///{elsewhere._folder}/timmy.db")
        db = open_database(url)
        paid, states = await db.read(settled_and_states)
        waiting = {"awaiting_eval_payment", "expired"}
        assert set(known) <= set(states), "an order from before the backup is not in it"
        assert [job for job, state in known.items() if state not in waiting and job not in paid] == []
        assert [job for job, state in known.items() if state in ENDS and states[job] != state] == []
        assert all(paid[each.session["sessionId"]] == DEPOSIT_SATS * 1_000 for each in prepaid)

        assert (await asyncio.to_thread(timmy, elsewhere, "refunds", "resume")).stdout == "Payouts go on.\n"
        await elsewhere.start()
        try:
            while await db.read(unfinished):
                await asyncio.sleep(0.1)
            for each in prepaid:
                each._servers[:] = [elsewhere]
                await each.ask()  # with the macaroon of before
        finally:
            await elsewhere.kill()
        assert [check for check in await db.read(all_checks) if not check.holds] == []
        await db.aclose()


@pytest.fixture
def house(tmp_path: Path) -> Server:
    """A ledger with its secrets, as a server left it."""
    server = Server({}, tmp_path / "house")
    server._folder.mkdir(exist_ok=True)
    server._environ["DATA_DIR"] = str(server._folder)
    db = open_database(f"sqlite:///{server._folder}/timmy.db")
    asyncio.run(db.aclose())
    for secret in KEPT_SECRETS:
        (server._folder / secret).write_text("ab" * 32)
    return server


def another(tmp_path: Path, name: str) -> Server:
    return Server({}, tmp_path / name)


def test_a_backup_is_never_overwritten_and_a_restore_overwrites_nothing(house: Server, tmp_path: Path) -> None:
    file = tmp_path / "b"
    assert timmy(house, "backup", str(file)).returncode == 0
    before = file.read_bytes()
    again = timmy(house, "backup", str(file))
    assert (again.returncode, "never overwritten" in again.stderr) == (2, True)
    assert file.read_bytes() == before
    onto = timmy(house, "restore", str(file))
    assert (onto.returncode, "exists" in onto.stderr) == (2, True)
    other = another(tmp_path, "other")
    (other._folder / "token_secret").write_text("cd" * 32)
    mixed = timmy(other, "restore", str(file))
    assert (mixed.returncode, "is another than the backup's" in mixed.stderr) == (2, True)
    assert sorted(path.name for path in other._folder.iterdir()) == ["token_secret"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "house", "other"]


@pytest.mark.parametrize("harm", ["cut short", "a byte changed", "packed wrongly", "nothing of ours", "half a manifest", "one that climbs"])
def test_a_backup_that_is_not_whole_is_refused_and_leaves_nothing(harm: str, house: Server, tmp_path: Path) -> None:
    file = tmp_path / "b"
    assert timmy(house, "backup", str(file)).returncode == 0
    content = file.read_bytes()
    if harm == "cut short":
        file.write_bytes(content[: len(content) // 2])
    elif harm == "a byte changed":
        file.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    elif harm == "packed wrongly":
        packed = zlib.compressobj(wbits=31)  # RFC 1952; what follows begins a block of a kind that there is not (RFC 1951, 3.2.3)
        half = gzip.decompress(content)
        file.write_bytes(packed.compress(half[: len(half) // 2]) + packed.flush(zlib.Z_FULL_FLUSH) + b"\xff" * 100)
    elif harm == "nothing of ours":
        file.write_bytes(os.urandom(1_000))
    else:
        whole = {"format": 1, "version": "0", "takenAt": "", "engine": "sqlite", "migrations": {}, "rows": {}, "sha256": {"../x": "0"}}
        is_half = harm == "half a manifest"
        (tmp_path / "m").write_text(json.dumps({"format": 1, "sha256": {}} if is_half else whole))
        with tarfile.open(file, "w:gz") as archive:
            archive.add(tmp_path / "m", "manifest.json")
            if not is_half:
                archive.add(tmp_path / "m", "../x")
    other = another(tmp_path, "other")
    told = timmy(other, "restore", str(file))
    assert told.returncode == 2
    assert "backup" in told.stderr
    assert "Traceback" not in told.stderr
    assert list(other._folder.iterdir()) == []


@pytest.mark.fault("G04")
def test_a_nodes_private_key_is_in_no_backup_not_even_on_a_free_page(house: Server, tmp_path: Path) -> None:
    keys = [f"sealed-{n}-" + "k" * 40 for n in range(3)]
    with closing(sqlite3.connect(house._folder / "timmy.db")) as connection:
        for n, key in enumerate(keys):
            connection.execute(
                "INSERT INTO bootstraps (id, state, fee_msat, invoice, cloud, key_kind, sealed_key, sealed_join_key, created_at_ms,"
                " moved_at_ms) VALUES (?, 'provisioning', 1, 'i', 'c', 'ed25519', ?, ?, 1, 1)",
                (f"b{n}", key, key),
            )
        connection.execute("UPDATE bootstraps SET sealed_key = NULL, sealed_join_key = NULL WHERE id = 'b0'")
        connection.execute("DELETE FROM bootstraps WHERE id = 'b1'")
        connection.commit()
    file = tmp_path / "b"
    assert timmy(house, "backup", str(file)).returncode == 0
    with tarfile.open(file) as archive:
        content = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    assert any(b"bootstraps" in each for each in content.values())
    assert [name for name, each in content.items() if b"sealed-" in each] == []


@pytest.mark.fault("A21")
def test_a_restore_that_is_killed_never_leaves_a_ledger_that_pays(house: Server, tmp_path: Path) -> None:
    """From the first moment at which there is a ledger to open, its payouts are paused."""
    file, other = tmp_path / "b", another(tmp_path, "other")
    assert timmy(house, "backup", str(file)).returncode == 0
    place = other._folder / "timmy.db"
    restoring = subprocess.Popen([sys.executable, "-m", "timmy", "restore", str(file)], env=other._environ, cwd=other._folder)
    try:
        while not place.exists():
            assert restoring.poll() in (None, 0)
    finally:
        restoring.kill()
        restoring.wait()
    assert breakers(f"sqlite://{place}") == ["nodes", "payouts"]


def test_a_restored_ledger_is_paused_before_anything_else_is_done(
    two_places: tuple[dict[str, str], dict[str, str]], tmp_path: Path
) -> None:
    """What stands there when whoever restores dies right after it was put in place."""
    here, there = ({"DATA_DIR": str(tmp_path / name), **environ} for name, environ in zip(("here", "there"), two_places, strict=True))
    settings = Settings.load(here, None)
    asyncio.run(open_database(settings.database_url).aclose())
    archive.keep(settings, tmp_path / "b", 1)
    settings = Settings.load(there, None)
    archive.bring_back(settings, tmp_path / "b", 2)
    assert breakers(settings.database_url) == ["nodes", "payouts"]


def breakers(url: str) -> list[str]:
    async def look() -> list[str]:
        db = open_database(url)
        try:
            return await db.read(lambda tx: [row["name"] for row in tx.all("SELECT name FROM breakers ORDER BY name")])
        finally:
            await db.aclose()

    return asyncio.run(look())
