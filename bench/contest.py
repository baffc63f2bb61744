"""Variants that take turns: A B C A B C, never A A A. Each turn is a fresh process on a fresh database."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from bench import machine

QUIET_CORES = 0.25
NOISY_CORES = 0.5
QUIET_WAIT_SECONDS = 30
QUIET_WAIT_TOTAL_SECONDS = 300  # of one contest: on a machine that is never quiet, the turns say so themselves


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of one variant."""

    per_second: float
    p50_ms: float
    p99_ms: float
    client_cpu_us: float  # per thing done, in the processes that ask
    server_cpu_us: float  # per thing done, in PostgreSQL
    foreign_cores: float


@dataclass(frozen=True, slots=True)
class Variant:
    name: str
    take_turn: Callable[[], Turn]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things are measured."""

    warm_seconds: float
    seconds: float
    repetitions: int
    wait_for_quiet: bool


Board = dict[str, list[Turn]]  # variant → its turns, in order of the repetitions


def compete(variants: Sequence[Variant], patience: Patience) -> Board:
    board: Board = {variant.name: [] for variant in variants}
    waited_seconds = 0
    for repetition in range(patience.repetitions):
        for variant in variants:
            if patience.wait_for_quiet and waited_seconds < QUIET_WAIT_TOTAL_SECONDS:
                waited_seconds += wait_for_quiet()
            turn = variant.take_turn()
            board[variant.name].append(turn)
            print(
                f"  {repetition + 1}/{patience.repetitions}  {variant.name:<78} {turn.per_second:>9,.0f}/s  p50 {turn.p50_ms:.1f} ms  "
                f"p99 {turn.p99_ms:.1f} ms  CPU {turn.client_cpu_us:,.0f} + {turn.server_cpu_us:,.0f} µs  "
                f"foreign {turn.foreign_cores:.2f} cores",
                flush=True,
            )
    return board


def wait_for_quiet() -> int:
    """Until the others leave most of the machine to us, or patience ends. Answers how many seconds it waited in vain."""
    for second in range(QUIET_WAIT_SECONDS):
        before = machine.instant()
        time.sleep(1)
        if machine.foreign_cores(before, machine.instant()) < QUIET_CORES:
            return second
    return QUIET_WAIT_SECONDS


def percentile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


# What the board says ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spread:
    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


def best_of(board: Board, names: Sequence[str]) -> list[Turn]:
    """Per repetition, whichever of the named was fastest: what a rival could have been set to."""
    return [max(turns, key=lambda turn: turn.per_second) for turns in zip(*(board[name] for name in names), strict=True)]


def ratio(ours: Sequence[Turn], theirs: Sequence[Turn]) -> Spread:
    """Computed per repetition, so that both sides saw the same machine."""
    return Spread.of([mine.per_second / other.per_second for mine, other in zip(ours, theirs, strict=True)])


def as_json(board: Board) -> dict[str, list[dict[str, float]]]:
    return {name: [asdict(turn) for turn in turns] for name, turns in board.items()}


def from_json(document: Mapping[str, Sequence[Mapping[str, float]]]) -> Board:
    return {name: [Turn(**turn) for turn in turns] for name, turns in document.items()}
