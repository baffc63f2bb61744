"""What the table knows of one setting beside its value: its name, its kind, and why it is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from timmy.settings.kinds import Explained, Kind
from timmy.settings.sources import Found

T = TypeVar("T")
D = TypeVar("D")
SHOWN_CHARS_MAX = 80


@dataclass(frozen=True, slots=True)
class Spec:
    name: str
    group: str
    kind: Kind[Any]
    about: str
    default_shown: str | None  # said instead of the default, where that depends on something
    empty_counts: bool  # an empty value says something, instead of nothing


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of `timmy config`. Nothing in it is secret."""

    name: str
    group: str
    value: str
    default: str
    source: str  # "default", "environment", or the path of the .env file
    allowed: str
    about: str


def setting(
    group: str, name: str, kind: Kind[T], default: D, about: str, *, default_shown: str | None = None, empty_counts: bool = False
) -> T | D:
    """An entry of the table: a dataclass field that carries its spec."""
    return cast(T, field(default=default, metadata={"spec": Spec(name, group, kind, about, default_shown, empty_counts)}))


def parse(known: Mapping[str, Spec], found: Mapping[str, Found]) -> tuple[dict[str, Any], list[str]]:
    """The values by attribute, and a sentence for each that cannot be understood."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for attribute, spec in known.items():
        if (at := found.get(spec.name)) is None:
            continue
        try:
            values[attribute] = spec.kind.parse(at.text)
        except ValueError as error:
            given = "(its value is not shown)" if spec.kind.secret else f"= {at.text[:SHOWN_CHARS_MAX]!r}"
            why = f" ({error})" if isinstance(error, Explained) else ""
            problems.append(f"{spec.name} {given} from {at.source}: it must be {spec.kind.allowed}{why}.")
    return values, problems


def row(spec: Spec, value: object, default: object, source: str) -> SettingRow:
    return SettingRow(
        name=spec.name,
        group=spec.group,
        value=_shown(spec, value),
        default=_shown(spec, default) if spec.default_shown is None else spec.default_shown,
        source=source,
        allowed=spec.kind.allowed,
        about=spec.about,
    )


def _shown(spec: Spec, value: object) -> str:
    return "" if value in (None, "", {}) else spec.kind.show(value)
