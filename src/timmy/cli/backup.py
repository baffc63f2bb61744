"""`timmy backup` and `timmy restore`: the house in one file, and back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from timmy.cli.books import NoBooks, describe
from timmy.cli.ledger import both, show
from timmy.cli.screen import as_json, say
from timmy.clock import SystemClock
from timmy.settings import Settings

if TYPE_CHECKING:  # what a command needs it imports where it runs: its help must not wait for the house
    from timmy.app.archive import Kept
    from timmy.ledger.audit import AccountLine, Check


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write. It must not exist.")],
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Write the ledger and the house's secrets to one file that only you can read, while servers go on working.

    Settings (.env) are not in it; keep them, with the wallet's key, in another place.
    """
    from timmy.app import archive

    settings = Settings.load()
    path = settings.sqlite_path
    if path is not None and not path.exists():
        raise NoBooks(f"{path} does not exist: there is nothing to back up. Is DATA_DIR or DATABASE_URL what it was for the server?")
    kept = archive.keep(settings, file, SystemClock().now_ms())
    if json:
        as_json({"file": str(file), **document(kept)})
        return
    say(f"{file}: {describe(settings)}, {kept.rows} rows, {len(kept.secrets)} secrets, as of {kept.taken_at}.")
    say("Whoever has this file can be this house: keep it where you keep keys.")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that timmy backup wrote.")],
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Put a backup into an empty database and DATA_DIR, and verify its books.

    Payouts are paused in it: it does not know what the wallet has paid since. Compare with timmy reconcile, then timmy refunds resume.
    Orders of nodes that had not ended are held: it does not know what the cloud has made since. Compare with timmy nodes.
    """
    from timmy.app import archive

    settings = Settings.load()
    kept = archive.bring_back(settings, file, SystemClock().now_ms())
    lines, checks = asyncio.run(look(settings))
    sound = all(check.holds for check in checks)
    if json:
        broken = [{"name": check.name, "found": check.found} for check in checks if not check.holds]
        as_json({"ok": sound, "broken": broken, **document(kept)})
    else:
        show(lines, checks)
        if sound:
            say(f"\nRestored as of {kept.taken_at}. The books close.", "bold")
        else:
            say("\nRestored, but the books do not close. Do not serve from this; try an older backup.", "bold red")
        say("Payouts are paused, for the wallet may have paid since. timmy reconcile compares; timmy refunds resume starts them again.")
        say("Orders of nodes that had not ended are held, for their machines may be somebody's by now: timmy nodes lists them.")
    raise typer.Exit(0 if sound else 1)


async def look(settings: Settings) -> tuple[list[AccountLine], list[Check]]:
    """Brings the tables to this version first: nobody else has ever used them."""
    from timmy.db import open_database

    db = open_database(settings.database_url)
    try:
        return await db.read_slowly(both)
    finally:
        await db.aclose()


def document(kept: Kept) -> dict[str, object]:
    return {"engine": kept.engine, "version": kept.version, "takenAt": kept.taken_at, "rows": kept.rows, "secrets": list(kept.secrets)}
