"""`timmy testkit`: the public contract, tried from outside."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import urllib.request
from typing import Annotated

import typer

from timmy.cli.screen import fail
from timmy.settings import Settings

FETCH_TIMEOUT_SECONDS = 10


def run_testkit(url: Annotated[str, typer.Argument(help="The server to test. Without it: PUBLIC_URL.", show_default=False)] = "") -> None:
    """Fetch a server's own test script and run it against that server.

    The same as: curl -s URL/api/testkit | bash. Each case is PASS, FAIL or SKIP; the exit code is 1 when one failed.
    """
    target = (url or Settings.load().public_url).rstrip("/")
    if not target.startswith(("http://", "https://")):
        fail(f"{target} is no http:// or https:// URL.")
        raise typer.Exit(2)
    bash = shutil.which("bash")
    if bash is None:
        fail("The test script needs bash, and this machine has none.")
        raise typer.Exit(2)
    try:
        with urllib.request.urlopen(f"{target}/api/testkit", timeout=FETCH_TIMEOUT_SECONDS) as answer:
            script = answer.read()
    except (OSError, ValueError, http.client.HTTPException) as trouble:
        fail(f"No test script could be had from {target} ({trouble}). Is a Timmy running there?")
        raise typer.Exit(2) from None
    raise typer.Exit(subprocess.run([bash, "-s", "--", target], input=script, check=False).returncode)
