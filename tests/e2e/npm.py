"""Clients that are written in JavaScript: installed once from npm, each of a fixed version, and run with node."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "bench" / "out"
SCRIPTS = ROOT / "scripts" / "clients"
PACKAGES = ("openai@7.57.0", "@getalby/lightning-tools@9.0.1", "l402@0.5.1", "axios@1.21.1")
MPPX = ("mppx@0.11.0", "viem@2.57.20", "zod@4.4.3")  # it does not load without the second, which is large: for `./run heavy`
PATIENCE_SECONDS = 240
WHAT_TO_DO = "These tests run other people's clients, which are written in JavaScript: install Node.js 20 or newer, with npm."


def installed(packages: tuple[str, ...] = PACKAGES) -> Path:
    """The folder that has the packages. Of several processes that want it at once, one installs them."""
    assert None not in (shutil.which("node"), shutil.which("npm")), WHAT_TO_DO
    folder = OUT / f"clients-js-{hashlib.sha256(repr(packages).encode()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").is_file():
            shutil.rmtree(folder / "node_modules", ignore_errors=True)
            (folder / "package.json").write_text('{"private": true}')
            npm = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--legacy-peer-deps", "--prefix", str(folder)]
            done = subprocess.run([*npm, *packages], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
            assert done.returncode == 0, f"npm could not install {', '.join(packages)}:\n{done.stderr[-2_000:]}"
            (folder / "installed").touch()
        for script in SCRIPTS.glob("*.mjs"):  # each looks for its packages beside itself
            shutil.copy(script, folder / script.name)
    return folder


async def node(script: str, *arguments: str, environ: Mapping[str, str], home: Path, packages: tuple[str, ...] = PACKAGES) -> Any:
    """What the script says in its last line, which is JSON."""
    folder = await asyncio.to_thread(installed, packages)
    whole = {"PATH": os.environ["PATH"], "HOME": str(home), **environ}
    running = await asyncio.create_subprocess_exec(
        "node", str(folder / script), *arguments, env=whole, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        out, trouble = await running.communicate()
    assert running.returncode == 0, f"{script} ended with {running.returncode}:\n{out.decode()[-2_000:]}\n{trouble.decode()[-4_000:]}"
    return json.loads(out.decode().strip().splitlines()[-1])
