"""docs/reference/performance.md, made from what the runs left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench import contest
from bench.contest import NOISY_CORES, Board, Spread, Turn, best_of, ratio
from bench.gateway import section as gateway
from bench.hot import section as hot
from bench.jobs import section as jobs
from bench.pool import section as pool
from bench.words import GATEWAY, HEAD, HOT, JOBS, MEMORY, POOL, SESSIONS, WORLD
from bench.world import section as world


def render(kept: Mapping[str, Any]) -> str:
    """`kept`: section → date, machine, result. Sections that were never run are left out, and said to be."""
    machines = [section["machine"] for section in kept.values()]
    one_machine = all(machine == machines[0] for machine in machines)
    parts = [HEAD, *(["\n", _facts(machines[0])] if one_machine else [])]
    if "hot" in kept:
        parts += [HOT, _about(kept["hot"], tell_machine=not one_machine), _hot(contest.from_json(kept["hot"]["result"]))]
    if "pool" in kept:
        parts += [POOL, _about(kept["pool"], tell_machine=not one_machine), _pool(contest.from_json(kept["pool"]["result"]))]
    if "jobs" in kept:
        parts += [JOBS, _about(kept["jobs"], tell_machine=not one_machine), _jobs(contest.from_json(kept["jobs"]["result"]))]
    if "sessions" in kept:
        table = _table(contest.from_json(kept["sessions"]["result"]), "requests")
        parts += [SESSIONS, _about(kept["sessions"], tell_machine=not one_machine), table]
    if "gateway" in kept:
        parts += [GATEWAY, _about(kept["gateway"], tell_machine=not one_machine), _gateway(kept["gateway"]["result"])]
    if "memory" in kept:
        parts += [MEMORY, _about(kept["memory"], tell_machine=not one_machine), _memory(kept["memory"]["result"])]
    if "world" in kept:
        parts += [WORLD, _about(kept["world"], tell_machine=not one_machine), world.table(kept["world"]["result"])]
    missing = [name for name in ("hot", "pool", "jobs", "sessions", "gateway", "memory", "world") if name not in kept]
    if missing:
        parts.append(f"\nNot measured yet: {', '.join(missing)}.\n")
    return "".join(parts)


def _about(section: Mapping[str, Any], *, tell_machine: bool) -> str:
    date = f"\n{section['date']}, Timmy at {section['commit']}; {section['how']}.\n"
    return date + (f"\n{_facts(section['machine'])}" if tell_machine else "")


def _facts(machine: Mapping[str, str]) -> str:
    return "".join(f"- {name}: {value}\n" for name, value in machine.items())


# Tables ---------------------------------------------------------------------------------------------------


def _table(board: Board, unit: str) -> str:
    head = f"\n| | {unit} a second | p50 ms | p99 ms | CPU µs | foreign |\n|---|---|---|---|---|---|\n"
    return head + "".join(_row(name, turns) for name, turns in board.items())


def _row(name: str, turns: Sequence[Turn]) -> str:
    def median(what: str) -> float:
        return Spread.of([getattr(turn, what) for turn in turns]).median

    noisy = "*" if median("foreign_cores") >= NOISY_CORES else ""
    cpu = f"{median('client_cpu_us'):,.0f} + {median('server_cpu_us'):,.0f}"
    rate = _spread(Spread.of([turn.per_second for turn in turns]), ",.0f")
    return f"| {name}{noisy} | {rate} | {median('p50_ms'):.1f} | {median('p99_ms'):.1f} | {cpu} | {median('foreign_cores'):.2f} |\n"


def _spread(spread: Spread, form: str) -> str:
    return f"{spread.median:{form}} ({spread.least:{form}}–{spread.most:{form}})"


def _ratios(rows: Sequence[tuple[str, Spread, float | None]]) -> str:
    """`rows`: what, the ratio, what it has to be at least (None: shown for itself)."""
    lines = ["\n| ratio | measured | target | |\n|---|---|---|---|\n"]
    for what, measured, target in rows:
        wanted = "–" if target is None else f"≥ {target:g}"
        verdict = "" if target is None else "met" if measured.median >= target else "**missed**"
        lines.append(f"| {what} | **{measured.median:.1f}** ({measured.least:.1f}–{measured.most:.1f}) | {wanted} | {verdict} |\n")
    return "".join(lines)


def _hot(board: Board) -> str:
    interactive = [name for name in board if name.startswith("interactive FOR UPDATE")]
    two = [name for name in board if name.startswith("pgbench, two functions")]
    one = [name for name in board if name.startswith("pgbench, one function")]
    two_at_64, one_at_64 = (hot.pgbench_named(script, hot.CALLERS) for script in ("two_commits", "one_commit"))
    ours = board[hot.OURS_PG]
    rows = [
        ("PostgreSQL: Timmy ÷ interactive, at its best number of connections", ratio(ours, best_of(board, interactive)), 10.0),
        (
            "PostgreSQL: Timmy ÷ pgbench with two commits, 64 clients",
            ratio(ours, board[two_at_64]),
            1.0,
        ),
        ("PostgreSQL: Timmy ÷ pgbench with two commits, at its best number of clients", ratio(ours, best_of(board, two)), 1.0),
        ("PostgreSQL: Timmy ÷ pgbench with one commit, 64 clients", ratio(ours, board[one_at_64]), 1.0),
        ("PostgreSQL: Timmy ÷ pgbench with one commit, at its best number of clients", ratio(ours, best_of(board, one)), None),
        ("SQLite: Timmy ÷ interactive", ratio(board[hot.OURS_LITE], board[hot.INTERACTIVE_LITE]), None),
    ]
    return _table(board, "pairs") + _ratios(rows)


def _pool(board: Board) -> str:
    rows: list[tuple[str, Spread, float | None]] = []
    for callers in pool.CALLERS:
        rival = best_of(board, [name for name in board if name.startswith(f"interactive FOR UPDATE, {callers} callers")])
        decided, granted = (ratio(board[pool.ours("PostgreSQL", callers, whole=whole)], rival) for whole in (False, True))
        rows.append((f"PostgreSQL, {callers} callers: Timmy ÷ interactive, at its best number of connections", decided, 10.0))
        rows.append((f"PostgreSQL, {callers} callers: Timmy, until it is granted ÷ interactive, at its best", granted, None))
    return _table(board, "gifts") + _ratios(rows)


def _jobs(board: Board) -> str:
    def best(module: str, engine: str, *, processes: int | None = None, same_rows: bool = False) -> list[Turn]:
        return best_of(board, [name for name in jobs.named(module, engine, processes=processes, same_rows=same_rows) if name in board])

    rivals = ((jobs.DBOS, "DBOS"), (jobs.PROCRASTINATE, "Procrastinate"))
    ours, one = best(jobs.OURS, jobs.PG), best(jobs.OURS, jobs.PG, processes=1)
    rows: list[tuple[str, Spread, float | None]] = []
    for rival, name in rivals:
        rows += [
            (f"Timmy's whole jobs ÷ five bare steps of {name}, each at its best", ratio(ours, best(rival, jobs.PG)), 20.0),
            (f"the same rows written: Timmy ÷ {name}, each at its best", ratio(ours, best(rival, jobs.PG, same_rows=True)), 20.0),
            (f"five bare steps each: Timmy ÷ {name}, each at its best", ratio(best(jobs.BARE, jobs.PG), best(rival, jobs.PG)), 20.0),
            (f"one process each: Timmy's whole jobs ÷ five bare steps of {name}", ratio(one, best(rival, jobs.PG, processes=1)), None),
        ]
    lite = best(jobs.DBOS, jobs.LITE)
    rows += [
        ("SQLite: Timmy's whole jobs ÷ five bare steps of DBOS, each at its best", ratio(best(jobs.OURS, jobs.LITE), lite), 20.0),
        ("SQLite, five bare steps each: Timmy ÷ DBOS, each at its best", ratio(best(jobs.BARE, jobs.LITE), lite), 20.0),
    ]
    for processes in (2, 4):
        if more := [name for name in jobs.named(jobs.OURS, jobs.PG, processes=processes) if name in board]:
            rows.append((f"Timmy's whole jobs: {processes} processes ÷ 1, each at its best", ratio(best_of(board, more), one), None))
    return _table(board, "jobs") + _ratios(rows)


def _gateway(found: Mapping[str, Any]) -> str:
    whole, streams = gateway.boards(found)
    named = gateway.name
    _, pg, pg_twice, lite, litellm, naive = (whole[named(who, 64)] for who in gateway.WHOLE)
    rows: list[tuple[str, Spread, float | None]] = []
    for engine, ours in (("PostgreSQL, two processes", pg_twice), ("PostgreSQL", pg), ("SQLite", lite)):
        rows += [
            (f"{engine}, 64 callers: Timmy ÷ LiteLLM", ratio(ours, litellm), 25.0),
            (f"{engine}, 64 callers: Timmy ÷ the naive design", ratio(ours, naive), None),
        ]
    bare, slow = whole[named(gateway.BARE, 1)], whole[named(gateway.LITELLM, 1)]
    for engine, who in (("PostgreSQL", gateway.PG), ("SQLite", gateway.LITE)):
        added = _added(slow, whole[named(who, 1)], bare)
        rows.append((f"{engine}, 1 caller: what LiteLLM adds to the upstream's p50 ÷ what Timmy adds", added, 5.0))
    for engine, who in (("PostgreSQL", gateway.PG), ("SQLite", gateway.LITE)):
        tokens = ratio(streams[who], streams[gateway.LITELLM])
        rows.append((f"{engine}, {gateway.STREAMS} streams: Timmy's tokens ÷ LiteLLM's", tokens, None))
    lines = ["\n| an open stream that waits | KiB resident |\n|---|---|\n"]
    for who, seen in found["open"].items():
        lines.append(f"| {who} | {(seen['all_rss_kib'] - seen['first_rss_kib']) / seen['streams']:,.0f} |\n")
    told = f"\n{gateway.STREAMS} streams at once; p50 and p99 are the time to the first token, CPU is for one token:\n"
    return _table(whole, "requests") + told + _table(streams, "tokens") + "".join(lines) + _ratios(rows)


def _added(theirs: Sequence[Turn], ours: Sequence[Turn], bare: Sequence[Turn]) -> Spread:
    """Of latencies at one caller, per repetition: what they add to the upstream ÷ what we add."""
    return Spread.of(
        [(slow.p50_ms - none.p50_ms) / (fast.p50_ms - none.p50_ms) for slow, fast, none in zip(theirs, ours, bare, strict=True)]
    )


def _memory(found: Mapping[str, Mapping[str, float]]) -> str:
    jobs = round(next(iter(found.values()))["jobs"])
    rows: list[tuple[str, str, float]] = [
        ("resident, nothing to do, MiB", "idle_rss_kib", 1 / 1024),
        ("resident, after its first 500 jobs, MiB", "first_rss_kib", 1 / 1024),
        (f"resident, with {jobs:,} open jobs that it saw come, MiB", "open_rss_kib", 1 / 1024),
        (f"resident, started beside {jobs:,} open jobs, MiB", "restarted_rss_kib", 1 / 1024),
        ("CPU with nothing to do, % of a core", "idle_cores", 100),
        (f"CPU while {jobs:,} jobs wait (the sweep asks the wallet), % of a core", "open_cores", 100),
    ]
    lines = [f"\n| | {' | '.join(found)} |\n|---|{'---|' * len(found)}\n"]
    for what, key, factor in rows:
        lines.append(f"| {what} | {' | '.join(f'{engine[key] * factor:.1f}' for engine in found.values())} |\n")
    grown = [(engine["open_rss_kib"] - engine["first_rss_kib"]) * 1024 / (jobs - engine["first_jobs"]) for engine in found.values()]
    disk = [engine["disk_bytes"] / jobs for engine in found.values()]
    lines.append(f"| resident bytes per open job (what grew after the first 500) | {' | '.join(f'{value:,.0f}' for value in grown)} |\n")
    lines.append(f"| bytes on disk per open job | {' | '.join(f'{value:,.0f}' for value in disk)} |\n")
    return "".join(lines)
