"""The browser of these tests: the one in CHROMIUM, one that is installed, or Debian's, which is installed when that is possible.

A test run without a browser would be green on nothing, so it fails instead, and says what to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKAGES = ("chromium", "fonts-dejavu-core")
INSTALL_SECONDS_MAX = 600
# Software WebGL, asked for by name: newer versions of Chromium do not fall back to it by themselves.
ARGUMENTS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
WITHOUT_WEBGL = ("--disable-3d-apis",)
# Where nothing is drawn in three dimensions, the page is put together without a GPU that is played by the processor: at half the cost.
FLAT = (*WITHOUT_WEBGL, "--disable-gpu-compositing")


class NoBrowser(Exception):
    pass


def executable() -> str:
    """Its path. NoBrowser says how to get one."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    return _found() or _installed()


def _found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _installed() -> str:
    wanted = " ".join(PACKAGES)
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise NoBrowser(f"The browser tests need Chromium: `apt-get install {wanted}` as root, or name one in the variable CHROMIUM.")
    surroundings = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (("update",), ("install", "--yes", "--no-install-recommends", *PACKAGES)):
        done = subprocess.run(
            ["apt-get", "-q", *arguments], capture_output=True, text=True, env=surroundings, timeout=INSTALL_SECONDS_MAX, check=False
        )
        if done.returncode != 0:
            raise NoBrowser(f"`apt-get {arguments[0]}` for Chromium ended with {done.returncode}:\n{done.stderr.strip()[-800:]}")
    found = _found()
    if found is None:
        raise NoBrowser(f"{wanted} are installed, and still there is no Chromium on the PATH. Name it in the variable CHROMIUM.")
    return found
