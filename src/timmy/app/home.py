"""Where a house keeps its things: looked at before anything is opened, because it is what a first start fails by."""

from __future__ import annotations

import os

from timmy.errors import Refusal
from timmy.settings import Settings


class NoHome(Refusal):
    code = "no_home"
    title = "There is no folder to keep things in"


def settle(settings: Settings) -> None:
    """The folders of the database and of made secrets are there, and can be written to. Raises NoHome."""
    needed = {"DATA_DIR": settings.data_dir} if settings.token_secret is None else {}
    if settings.sqlite_path is not None and settings.sqlite_path.parent != settings.data_dir:
        needed["DATABASE_URL"] = settings.sqlite_path.parent
    elif settings.sqlite_path is not None:
        needed["DATA_DIR"] = settings.data_dir
    for name, folder in needed.items():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as trouble:
            raise NoHome(f"{folder}: {trouble.strerror or trouble}. Set {name} to where this user may write.") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise NoHome(f"{folder} cannot be written to. Set {name} to where this user may write.")
