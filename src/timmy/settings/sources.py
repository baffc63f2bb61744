"""Where settings come from: the environment first, then `.env`. An empty value is the same as none."""

from __future__ import annotations

import difflib
import io
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

DOTENV_BYTES_MAX = 1_000_000
TYPO_LIKENESS = 0.85  # MARGINPCT is near MARGIN_PCT, HOSTNAME is not near HOST
OTHERS = stat.S_IROTH | stat.S_IWOTH


class SettingsError(Exception):
    """Timmy does not start like this. `problems` has one sentence for each thing to mend; the message is all of them."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Found:
    """The text of one setting and where it stood: `environment`, or the path of the file."""

    text: str
    source: str


def read_dotenv(path: Path) -> dict[str, str]:
    """The file's pairs; a file that is not there has none. No `${…}` is expanded: what stands there is what is meant."""
    try:
        with path.open("rb") as file:
            raw = file.read(DOTENV_BYTES_MAX + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror}): mend it or take it away.") from None
    if len(raw) > DOTENV_BYTES_MAX:
        raise SettingsError(f"{path} is larger than {DOTENV_BYTES_MAX} bytes: that is no list of settings.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8 text.") from None
    return {name: value for name, value in dotenv_values(stream=io.StringIO(text), interpolate=False).items() if value is not None}


def open_to_others(path: Path) -> bool:
    """Whether any user of this machine may read or change the file."""
    try:
        return bool(path.stat().st_mode & OTHERS)
    except OSError:
        return False


def gather(
    environ: Mapping[str, str], dotenv: Mapping[str, str], path: Path | None, names: Collection[str], empty_counts: Collection[str]
) -> dict[str, Found]:
    """What is set, by name. `empty_counts` names the settings in which emptiness itself says something."""
    found: dict[str, Found] = {}
    for source, values in ((str(path), dotenv), ("environment", environ)):
        for name in names:
            text = values.get(name)
            if text is not None and (text.strip() or name in empty_counts):
                found[name] = Found(text.strip(), source)
    return found


def typos(values: Mapping[str, str], source: str, names: Collection[str]) -> list[str]:
    """A sentence for each name that is nearly one of ours. Values are not told: a mistyped secret is a secret still."""
    warnings = []
    for given in sorted(set(values) - set(names)):
        near = difflib.get_close_matches(given.upper(), names, n=1, cutoff=TYPO_LIKENESS)
        if near:
            warnings.append(f"{given} in {source} means nothing to Timmy: did you mean {near[0]}?")
    return warnings
