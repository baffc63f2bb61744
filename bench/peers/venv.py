"""The rivals' venv: made once under bench/out, with the versions that the figures are about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PINNED = ("dbos==3.4.0", "procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9", "sqlalchemy==2.1.9")


def python_of(out: Path) -> Path:
    """The interpreter of the rivals' venv. Raises CalledProcessError, with pip's words on the terminal."""
    folder = out / "peers-venv"
    stamp, python = folder / "installed", folder / "bin" / "python"
    wanted = "\n".join(PINNED)
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    print(f"  installing the rivals into {folder.name}: {', '.join(PINNED)}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, *PINNED], check=True)
    subprocess.run([str(python), "-m", "compileall", "-q", str(folder / "lib")], check=False)  # nobody pays for compiling while measured
    stamp.write_text(wanted)
    return python
