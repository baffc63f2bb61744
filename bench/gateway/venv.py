"""The venv of LiteLLM and of the naive design: made once under bench/out, with the versions that the figures are about.

OpenTelemetry and httptools belong to it: without the first, LiteLLM tries an import that fails at every request; with the second, uvicorn
reads HTTP in C. All of it is compiled beforehand.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PINNED = (
    "litellm[proxy]==1.106.2",
    "opentelemetry-api==1.45.2",
    "opentelemetry-sdk==1.45.2",
    "fastapi==0.165.0",
    "httpx==0.28.1",
    "uvicorn==0.54.0",
    "uvloop==0.23.0",
    "httptools==0.9.0",
    "psycopg[binary,pool]==3.3.9",
)
PATIENCE_SECONDS = 600


def folder_of(out: Path) -> Path:
    """Its bin folder. Raises CalledProcessError, with pip's words on the terminal, or TimeoutExpired."""
    folder = out / "gateway-venv"
    stamp = folder / "installed"
    wanted = "\n".join(PINNED)
    if stamp.is_file() and stamp.read_text() == wanted:
        return folder / "bin"
    print(f"  installing the rivals into {folder.name}: {', '.join(PINNED)}", flush=True)
    python = str(folder / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, timeout=PATIENCE_SECONDS)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, *PINNED], check=True, timeout=PATIENCE_SECONDS)
    compile_all = [python, "-m", "compileall", "-q", str(folder / "lib")]
    subprocess.run(compile_all, check=False, stdout=subprocess.DEVNULL, timeout=PATIENCE_SECONDS)
    stamp.write_text(wanted)
    return folder / "bin"
