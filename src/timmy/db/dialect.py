"""One SQL text, two engines: the few places where they differ, translated once per text and remembered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import orjson

_TABLE = re.compile(r":(\w+)\(([^()]*)\)\s+AS\s+(\w+)")  # FROM :rows(id TEXT, n BIGINT) AS r
_LIST = re.compile(r"\bIN\s+:(\w+)")  # WHERE id IN :ids
_NAME = re.compile(r"(?<![:\w]):([a-z_]\w*)")
_LOCK = re.compile(r"\s+FOR UPDATE(?:\s+OF\s+\w+)?(?:\s+SKIP LOCKED)?")


@dataclass(frozen=True, slots=True)
class Named:
    """A text for SQLite, whose parameters keep their names, and which of them must become JSON on the way."""

    sql: str
    as_json: tuple[str, ...]

    def bind(self, params: Mapping[str, object]) -> Mapping[str, object]:
        if not self.as_json:
            return params
        return {**params, **{name: orjson.dumps(params[name]).decode() for name in self.as_json}}


@dataclass(frozen=True)
class Numbered:
    """A text for PostgreSQL, where parameters are `$1`, `$2`, …: which one each is, and whether it must become JSON on the way."""

    sql: bytes
    places: tuple[tuple[str, bool], ...]

    @cached_property
    def counted(self) -> bytes:
        """The same for an INSERT, UPDATE or DELETE without RETURNING, and an error (22012, division by zero) unless it touches as many
        rows as one parameter more says. So PostgreSQL knows by itself whether to go on."""
        last = len(self.places) + 1
        return b"WITH touched AS (%b RETURNING 1) SELECT 1 / CAST(COUNT(*) = $%d AS INTEGER) FROM touched" % (self.sql, last)

    def bind(self, params: Mapping[str, object]) -> list[object]:
        """In their order; JSON as bytes."""
        return [orjson.dumps(params[name]) if as_json else params[name] for name, as_json in self.places]


@lru_cache(maxsize=2048)
def for_sqlite(sql: str) -> Named:
    as_json: list[str] = []

    def table(match: re.Match[str]) -> str:
        name, columns, alias = match.groups()
        as_json.append(name)
        picked = ", ".join(f"json_extract(value, '$.{column.split()[0]}') AS {column.split()[0]}" for column in columns.split(","))
        return f"(SELECT {picked} FROM json_each(:{name})) AS {alias}"  # noqa: S608 - names from our own text

    def listed(match: re.Match[str]) -> str:
        as_json.append(match[1])
        return f"IN (SELECT value FROM json_each(:{match[1]}))"  # noqa: S608 - a name from our own text

    text = _LIST.sub(listed, _TABLE.sub(table, sql))
    return Named(_LOCK.sub("", text), tuple(as_json))


@lru_cache(maxsize=2048)
def for_postgres(sql: str) -> Numbered:
    as_json: set[str] = set()
    order: list[str] = []

    def table(match: re.Match[str]) -> str:
        name, columns, alias = match.groups()
        as_json.add(name)
        return f"json_to_recordset(CAST(:{name} AS json)) AS {alias}({columns})"

    def listed(match: re.Match[str]) -> str:
        as_json.add(match[1])  # as JSON, like the tables: one form for both
        return f"= ANY(ARRAY(SELECT json_array_elements_text(CAST(:{match[1]} AS json))))"

    def numbered(match: re.Match[str]) -> str:
        if match[1] not in order:
            order.append(match[1])
        return f"${order.index(match[1]) + 1}"

    text = _NAME.sub(numbered, _LIST.sub(listed, _TABLE.sub(table, sql)))
    return Numbered(text.encode(), tuple((name, name in as_json) for name in order))
