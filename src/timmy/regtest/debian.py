"""bitcoind and Electrum out of Debian's archive: checked against Debian's keys, unpacked beside the system, without root.

Debian ships a bitcoind (Bitcoin Knots: Core's code, Core's RPC) and an Electrum with per-hash hold invoices in trixie-backports and
later. They want newer libraries than older systems have, so bitcoind's own libraries are unpacked with it and it is started through
their own loader. The system's package lists, packages and configuration stay as they are.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from timmy.regtest.parts import RegtestUnavailable
from timmy.regtest.shelf import run

MIRROR_VARIABLE = "DEBIAN_MIRROR"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SUITES: tuple[tuple[str, ...], ...] = (("trixie", "trixie-backports"), ("testing",), ("sid",))  # Debian keeps only each suite's newest
CONFIGURATION = """
Dir::Etc::sourcelist "{apt}/sources.list"; Dir::Etc::sourceparts "-"; Dir::State::lists "{apt}/lists"; Dir::State::status "{apt}/status";
Dir::Cache "{apt}/cache"; APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::Retries "3";
APT::Update::Error-Mode "any"; Debug::NoLocking "true";
#clear APT::Update::Pre-Invoke; #clear APT::Update::Post-Invoke; #clear APT::Update::Post-Invoke-Success; #clear DPkg::Post-Invoke;
"""


def recipe() -> str:
    """What a cached copy was made from; change the number when the layout changes."""
    return f"2 {SUITES}"


def unpack(place: Path) -> None:
    """Fill `place` with `bitcoind/` (a root of its own), `electrum/` and `secp256k1/`. `RegtestUnavailable` says what is missing."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise RegtestUnavailable(
            "The practice network takes bitcoind and Electrum from Debian's archive: it needs `apt-get` and `dpkg`, on Debian or Ubuntu."
        )
    mirror, keyring = _mirror(), _keyring(place)
    trouble: list[str] = []
    for suites in SUITES:
        try:
            _unpack_from(place, Apt.private(place / "apt", mirror=mirror, keyring=keyring, suites=suites), suites[-1])
        except RegtestUnavailable as problem:
            trouble.append(problem.message)
        else:
            shutil.rmtree(place / "apt")
            return
    raise RegtestUnavailable("Debian's archive did not give a bitcoind and an Electrum:\n" + "\n".join(trouble))


@dataclass(frozen=True, slots=True)
class Apt:
    """apt with lists, cache and an empty package database of its own."""

    home: Path

    @classmethod
    def private(cls, home: Path, *, mirror: str, keyring: Path, suites: Sequence[str]) -> Apt:
        shutil.rmtree(home, ignore_errors=True)
        for folder in ("lists/partial", "cache/archives/partial"):
            (home / folder).mkdir(parents=True)
        (home / "status").touch()
        (home / "sources.list").write_text("".join(f"deb [signed-by={keyring}] {mirror} {suite} main\n" for suite in suites))
        (home / "apt.conf").write_text(CONFIGURATION.format(apt=home))
        return cls(home)

    def __call__(self, *arguments: str, doing: str) -> str:
        program = "apt-cache" if arguments[0] in ("depends", "search") else "apt-get"
        surroundings = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        return run([program, "-q", "-c", str(self.home / "apt.conf"), *arguments], doing=doing, cwd=self.home, env=surroundings)


def _unpack_from(place: Path, apt: Apt, suite: str) -> None:
    apt("update", doing=f"reading Debian's package lists ({suite})")
    # The resolver knows what bitcoind needs in this suite; `--download-only` keeps it away from the system.
    wanted = ("--download-only", "--no-install-recommends", "--yes", "install", f"bitcoin-knots/{suite}")
    apt(*wanted, doing=f"downloading bitcoind ({suite})")
    _extract((apt.home / "cache" / "archives").glob("*.deb"), place / "bitcoind")
    _keep_what_runs(place / "bitcoind")
    found = apt("search", "--names-only", "^libsecp256k1-[0-9]+$", doing="looking for libsecp256k1").split()
    secp256k1 = [name for name in found if name.startswith("libsecp256k1-")]
    if not secp256k1:
        raise RegtestUnavailable(f"Debian's {suite} has no libsecp256k1.")
    apt("download", f"electrum/{suite}", f"python3-electrum/{suite}", doing=f"downloading Electrum ({suite})")
    _extract(apt.home.glob("*electrum*.deb"), place / "electrum")
    apt("download", *secp256k1, doing=f"downloading libsecp256k1 ({suite})")
    _extract(apt.home.glob("libsecp256k1*.deb"), place / "secp256k1")


def _extract(packages: Iterable[Path], target: Path) -> None:
    target.mkdir(exist_ok=True)
    for package in sorted(packages):
        run(["dpkg", "-x", str(package), str(target)], doing=f"unpacking {package.name}")


def loader(bitcoind_root: Path) -> Path:
    """The dynamic loader that was unpacked with bitcoind, in the directory of its libraries."""
    found = sorted((bitcoind_root / "usr" / "lib").glob("*-linux-gnu*/ld-linux*.so.*"))
    if not found:
        raise RegtestUnavailable("The packages of bitcoind hold no dynamic loader for this machine.")
    return found[0]


def _keep_what_runs(root: Path) -> None:
    """Of some sixty packages, bitcoind needs its own binary and the libraries; the rest would be half a system for nothing."""
    libraries, binary = loader(root).parent, root / "usr" / "bin" / "bitcoind"
    kept = root.with_name("kept")
    (kept / "usr" / "bin").mkdir(parents=True)
    (kept / "usr" / "lib").mkdir()
    binary.rename(kept / "usr" / "bin" / "bitcoind")
    libraries.rename(kept / "usr" / "lib" / libraries.name)
    shutil.rmtree(root)
    kept.rename(root)


def _mirror() -> str:
    """The Debian mirror that this machine uses already, or the one in `DEBIAN_MIRROR`."""
    if named := os.environ.get(MIRROR_VARIABLE):
        return named
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"], capture_output=True, text=True, check=False
    ).stdout.split()
    for address in listed:
        if re.search(r"/debian/?$", address):
            return address
    raise RegtestUnavailable(
        "bitcoind and Electrum come from Debian's archive, and this system's apt knows no Debian mirror. "
        f"Name one that you trust, e.g. {MIRROR_VARIABLE}=https://<a Debian mirror>/debian, and try again."
    )


def _keyring(place: Path) -> Path:
    """Debian's keys: on Debian they are there, elsewhere they come out of the system's own (signed) package of them."""
    if KEYRING.exists():
        return KEYRING
    run(
        ["apt-get", "-q", "download", "debian-archive-keyring"],
        doing="fetching Debian's keys (`apt-get install debian-archive-keyring` provides them)",
        cwd=place,
    )
    _extract(place.glob("debian-archive-keyring*.deb"), place / "keys")
    found = sorted((place / "keys" / "usr" / "share" / "keyrings").glob("debian-archive-keyring.*"))
    if not found:
        raise RegtestUnavailable("The package debian-archive-keyring holds no keyring. Install it by hand and try again.")
    return found[0]
