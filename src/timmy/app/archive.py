"""One file that brings a house back: its database at one moment, and the secrets that lie beside it.

A tar archive: `manifest.json`, which names what is in it with its SHA-256; the database; the secrets of DATA_DIR. Settings are not in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from timmy import __version__
from timmy.bootstrap.held import HELD
from timmy.clock import iso
from timmy.db import Tx
from timmy.db.snapshot import (
    LeftOut,
    NotEmpty,
    Snapshot,
    SnapshotBroken,
    restore_postgres,
    restore_sqlite,
    snapshot_postgres,
    snapshot_sqlite,
)
from timmy.errors import Refusal
from timmy.lightning import store as lightning_store
from timmy.lightning.payouts import BREAKER
from timmy.settings import Settings

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE, SECRETS = "database/", "secrets/"
MANIFEST_BYTES_MAX = 1_000_000
COMPRESSION = 6
OWNER_ONLY = 0o600
RESTORED = "restored from a backup: compare with the wallet first (timmy reconcile), and with the cloud (timmy nodes)"

# What stands in DATA_DIR and cannot be had again. The key that seals the private keys of nodes is not among them, and neither are those:
# whoever collected one was told that it is gone, and a backup of the minute before would still have it.
KEPT_SECRETS = ("token_secret", "receipt_key", "bootstrap_secret")
LEFT_OUT: LeftOut = {"bootstraps": ("sealed_key", "sealed_join_key")}


class CannotBackUp(Refusal):
    code = "cannot_back_up"
    title = "The backup was not made"


class CannotRestore(Refusal):
    status = 409
    code = "cannot_restore"
    title = "The backup was not restored"


@dataclass(frozen=True, slots=True)
class Kept:
    """What is in an archive."""

    engine: str
    version: str
    taken_at: str
    rows: int
    secrets: tuple[str, ...]


def keep(settings: Settings, file: Path, now_ms: int) -> Kept:
    """Write `file`: whole, on the disk and readable by its owner only, or not there at all. Raises CannotBackUp, DatabaseDown."""
    if file.exists():
        raise CannotBackUp(f"{file} exists, and a backup is never overwritten. Name another file.")
    try:
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".timmy-backup-") as place:
            folder = Path(place)
            path = settings.sqlite_path
            snapshot = snapshot_sqlite(path, folder, LEFT_OUT) if path else snapshot_postgres(settings.database_url, folder, LEFT_OUT)
            secrets = [settings.data_dir / name for name in KEPT_SECRETS if (settings.data_dir / name).is_file()]
            members = {DATABASE + each.name: each for each in snapshot.files} | {SECRETS + each.name: each for each in secrets}
            manifest = {
                "format": FORMAT,
                "version": __version__,
                "takenAt": iso(now_ms),
                "engine": snapshot.engine,
                "migrations": snapshot.migrations,
                "rows": snapshot.rows,
                "sha256": {name: _sha256(each) for name, each in members.items()},
            }
            draft = folder / "archive"
            _write(draft, manifest, members, folder)
            os.link(draft, file)  # not a rename: another backup of this name may have come first
    except FileExistsError:
        raise CannotBackUp(f"{file} exists, and a backup is never overwritten. Name another file.") from None
    except OSError as trouble:
        raise CannotBackUp(f"{file}: {trouble.strerror or trouble}. Choose a folder that exists, on a disk with room.") from trouble
    return _kept(manifest)


def bring_back(settings: Settings, file: Path, now_ms: int) -> Kept:
    """Into an empty database and DATA_DIR. Raises CannotRestore, NotEmpty, SnapshotBroken, SchemaMismatch; then nothing was changed.

    It begins with payouts paused, and with orders of nodes held that had not ended: it does not know what has been paid or made since.
    """
    home = settings.data_dir
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with tempfile.TemporaryDirectory(dir=home, prefix=".timmy-restore-") as place:
            folder = Path(place)
            manifest = _unpack(file, folder)
            path = settings.sqlite_path
            engine = "sqlite" if path else "postgres"
            if manifest["engine"] != engine:
                raise CannotRestore(f"it is of {manifest['engine']}, and DATABASE_URL is of {engine}. Set DATABASE_URL to the same kind.")
            fresh = _secrets_to_add(folder, home, manifest)
            snapshot = Snapshot(engine, manifest["migrations"], manifest["rows"], ())
            first = partial(_be_careful, at_ms=now_ms)
            # The secrets first: a server that began on this database without them would make others.
            placed = [secret.rename(home / secret.name) for secret in fresh]
            try:
                if path:
                    restore_sqlite(folder / DATABASE, path, snapshot, first)
                else:
                    restore_postgres(folder / DATABASE, settings.database_url, snapshot, first)
            except BaseException:
                for secret in placed:
                    secret.unlink()
                raise
    except OSError as trouble:
        raise CannotRestore(f"{trouble.filename or file}: {trouble.strerror or trouble}.") from trouble
    return _kept(manifest)


def _be_careful(tx: Tx, at_ms: int) -> None:
    """In the copy that is put in place, and not afterwards: who dies between the two would leave a ledger that pays what was paid."""
    for name in (BREAKER, HELD):
        # One that is in the backup has its time of then: what was ordered between that restore and this one would not be held.
        lightning_store.reset(tx, name)
        lightning_store.trip(tx, name, RESTORED, at_ms)


def _kept(manifest: Mapping[str, Any]) -> Kept:
    secrets = tuple(name.removeprefix(SECRETS) for name in manifest["sha256"] if name.startswith(SECRETS))
    return Kept(manifest["engine"], manifest["version"], manifest["takenAt"], sum(manifest["rows"].values()), secrets)


def _check_whole(manifest: Mapping[str, Any]) -> None:
    """What is read of it later is there. Where this is called, a KeyError is told as a broken file; later it would be a bug of ours."""
    _kept(manifest)
    dict(manifest["migrations"])


def _write(draft: Path, manifest: Mapping[str, Any], members: Mapping[str, Path], folder: Path) -> None:
    told = folder / MANIFEST
    told.write_text(json.dumps(manifest, indent=1))
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "wb") as out:
        with tarfile.open(fileobj=out, mode="w:gz", compresslevel=COMPRESSION) as archive:
            for name, each in {MANIFEST: told, **members}.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = each.stat().st_size, OWNER_ONLY
                with each.open("rb") as content:
                    archive.addfile(entry, content)
        out.flush()
        os.fsync(out.fileno())


def _unpack(file: Path, folder: Path) -> dict[str, Any]:
    """What the manifest names, each under the name that we give it, and nothing else."""
    for part in (DATABASE, SECRETS):
        (folder / part).mkdir()
    try:
        with tarfile.open(file, mode="r:gz") as archive:
            first = archive.next()
            if first is None or first.name != MANIFEST or first.size > MANIFEST_BYTES_MAX:
                raise SnapshotBroken(f"{file} is no backup of Timmy's.")
            manifest: dict[str, Any] = json.loads(_content(archive, first).read())
            if manifest.get("format") != FORMAT:
                raise SnapshotBroken(f"{file} was written by a newer version ({manifest.get('version')}). Install that one.")
            _check_whole(manifest)
            found = set()
            while (entry := archive.next()) is not None:
                sha256 = manifest["sha256"].get(entry.name)
                part, _, name = entry.name.partition("/")
                if sha256 is None or f"{part}/" not in (DATABASE, SECRETS) or not name or "/" in name or name.startswith("."):
                    raise SnapshotBroken(f"{file} holds something that its manifest does not name: {entry.name}")
                with os.fdopen(os.open(folder / part / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY), "wb") as out:
                    content = _content(archive, entry)
                    while block := content.read(1 << 20):
                        out.write(block)
                if _sha256(folder / part / name) != sha256:
                    raise SnapshotBroken(f"{entry.name} in it is not what was put in. Nothing was restored.")
                found.add(entry.name)
    except (tarfile.TarError, zlib.error, EOFError, ValueError, KeyError, TypeError, AttributeError, OSError) as trouble:
        if isinstance(trouble, OSError) and trouble.errno is not None:
            raise  # the file could not be read at all, or the disk is full
        raise SnapshotBroken(f"{file} cannot be read as a backup of Timmy's. Nothing was restored.") from trouble
    missing = set(manifest["sha256"]) - found
    if missing:
        raise SnapshotBroken(f"{file} lacks {', '.join(sorted(missing))}. Nothing was restored.")
    return manifest


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Any:
    content = archive.extractfile(entry)
    if content is None:
        raise SnapshotBroken(f"{entry.name} in it is not a file.")
    return content


def _secrets_to_add(folder: Path, home: Path, manifest: Mapping[str, Any]) -> list[Path]:
    """A house that has other secrets is another house: what it signed would no longer be known."""
    kept = [folder / SECRETS / name.removeprefix(SECRETS) for name in manifest["sha256"] if name.startswith(SECRETS)]
    for secret in kept:
        there = home / secret.name
        if secret.name not in KEPT_SECRETS:
            raise SnapshotBroken(f"it holds a secret that is not ours: {secret.name}")
        if there.exists() and there.read_bytes() != secret.read_bytes():
            raise NotEmpty(f"{there} is another than the backup's. Restore into an empty DATA_DIR.")
    return [secret for secret in kept if not (home / secret.name).exists()]


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
