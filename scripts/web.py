"""Build the pages: `web/` into the package. With --check nothing is replaced: whether the committed pages are what `web/` gives is said.

./run web           types checked, pages built
./run web --check   types checked, pages built beside and compared, byte by byte
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src" / "timmy" / "web"))  # by itself: nothing of Timmy needs to be installed to build its pages

import building  # type: ignore[import-not-found]  # noqa: E402


def main() -> None:
    web = building.sources(ROOT)
    try:
        if "--check" not in sys.argv[1:]:
            building.build(web, check_types=True)
            return
        with tempfile.TemporaryDirectory() as folder:
            again = Path(folder) / "dist"
            building.build(web, again, check_types=True)
            others = building.differences(building.BUILT, again)
    except building.PagesNotBuilt as trouble:
        raise SystemExit(f"The pages were not built. {trouble}") from None
    if others:
        raise SystemExit(f"Not what web/ gives: {', '.join(others)}. `./run web` builds them; commit what it changes.")


if __name__ == "__main__":
    subprocess.run([sys.executable, str(ROOT / "scripts" / "web_types.py"), "--check"], check=True)
    main()
