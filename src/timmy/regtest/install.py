"""What the practice networks are made of, where it lies, and how it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from timmy.regtest import debian
from timmy.regtest.parts import Progress, RegtestUnavailable
from timmy.regtest.shelf import Part, build_venv, default_cache_dir, install

# ElectrumX 1.20 talks to Core 28 and later; its 2.0 wants indexes that bitcoind 29 does not have.
ELECTRUMX = ("e-x[leveldb]==1.20.0", "aiorpcx[ws]==0.25.0", "plyvel==1.5.1")
# The libraries that Debian's Electrum 4.8 names as its own, under their names on the package index.
ELECTRUM = (
    "electrum-ecc==0.0.7",
    "electrum-aionostr==0.1.0",
    "aiorpcx[ws]==0.25.0",
    "aiohttp>=3.11,<4",
    "aiohttp-socks>=0.9.2,<1",
    "dnspython>=2.3,<2.5",
    "certifi",
    "jsonpatch",
    "qrcode",
    "cryptography",
)
LNBITS = ("lnbits==1.6.2", "bitstring<5")  # without the second, `import bolt11` fails in it: bitstring 5 has no ConstBitStream
OLDEST_PYTHON, FIRST_PYTHON_TOO_NEW = (3, 10), (3, 13)  # of LNbits 1.6; plyvel has wheels for the same


@dataclass(frozen=True, slots=True)
class Lab:
    """Where the installed programs are."""

    shelf: Path

    def bitcoind(self) -> list[str]:
        root = self.shelf / "debian" / "bitcoind"
        loader = debian.loader(root)
        return [str(loader), "--library-path", str(loader.parent), str(root / "usr" / "bin" / "bitcoind")]

    def electrumx(self) -> list[str]:
        return [str(self.shelf / "electrumx" / "bin" / "python"), str(self.shelf / "electrumx" / "bin" / "electrumx_server")]

    def electrum(self) -> list[str]:
        return [str(self.shelf / "electrum" / "bin" / "python"), str(self.shelf / "debian" / "electrum" / "usr" / "bin" / "electrum")]

    def electrum_environment(self) -> dict[str, str]:
        secp256k1 = next((self.shelf / "debian" / "secp256k1" / "usr" / "lib").glob("*/libsecp256k1.so.*")).parent
        packages = self.shelf / "debian" / "electrum" / "usr" / "lib" / "python3" / "dist-packages"
        return {**os.environ, "PYTHONPATH": str(packages), "LD_LIBRARY_PATH": str(secp256k1)}

    def lnbits(self) -> Path:
        return self.shelf / "lnbits"


def install_lightning(*, progress: Progress, cache_dir: Path | None = None) -> Lab:
    """bitcoind, ElectrumX and Electrum: about 250 MB, a minute the first time, nothing after that. Raises `RegtestUnavailable`."""
    _only_on_linux()
    shelf = cache_dir or default_cache_dir()
    parts = (
        Part("debian", debian.recipe(), "bitcoind and Electrum from Debian", debian.unpack),
        Part("electrumx", str(ELECTRUMX), "ElectrumX from PyPI", _build_electrumx_venv),
        Part("electrum", str(ELECTRUM), "Electrum's libraries from PyPI", _build_electrum_venv),
    )
    install(shelf, parts, progress)
    return Lab(shelf)


def install_lnbits(*, progress: Progress, cache_dir: Path | None = None) -> Lab:
    """LNbits in a virtual environment of its own: about 270 MB, one to two minutes the first time. Raises `RegtestUnavailable`."""
    shelf = cache_dir or default_cache_dir()
    install(shelf, (Part("lnbits", str(LNBITS), "LNbits from PyPI", _build_lnbits_venv),), progress)
    return Lab(shelf)


def _build_electrumx_venv(place: Path) -> None:
    build_venv(place, python=_suitable_python(), requirements=ELECTRUMX)


def _build_lnbits_venv(place: Path) -> None:
    build_venv(place, python=_suitable_python(), requirements=LNBITS)


def _build_electrum_venv(place: Path) -> None:
    # Compiling the curve library needs autotools and takes a minute; Debian's, unpacked beside, does.
    build_venv(place, python=sys.executable, requirements=ELECTRUM, env={"ELECTRUM_ECC_DONT_COMPILE": "1"})


def _only_on_linux() -> None:
    if sys.platform != "linux":
        raise RegtestUnavailable("The practice Lightning network runs on Linux only. `timmy demo` without it runs everywhere.")


def _suitable_python() -> str:
    """A Python from 3.10 to 3.12: this one, or one on the PATH."""
    versions = [f"python3.{minor}" for minor in range(FIRST_PYTHON_TOO_NEW[1] - 1, OLDEST_PYTHON[1] - 1, -1)]
    for candidate in (sys.executable, *filter(None, map(shutil.which, versions))):
        asked = subprocess.run([candidate, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False)
        if asked.returncode == 0 and OLDEST_PYTHON <= tuple(map(int, asked.stdout.split())) < FIRST_PYTHON_TOO_NEW:
            return candidate
    raise RegtestUnavailable(
        "LNbits and ElectrumX run on Python 3.10 to 3.12, and there is none here. Put one on the PATH, e.g. python3.12."
    )
