"""The price of a bitcoin, from several who should know, none of whom is believed alone.

`price()` never waits: it tells what is known now. A background task asks all sources once a minute, gives each five seconds, throws out
what cannot be, and takes the median of the rest. What counts, in this order:

    the median     of those that agree, within 5 % of each other's median
    last good      for up to `max_age_seconds`, when nobody answers, or when those who answer disagree and no majority agrees
    the lower      of those that disagree, when there is no last good price: whichever of them is right, the house is paid enough, and the
                   customer sees price and source before paying. Unless it is less than half of the other: then neither is believed
    the fallback   what the operator said, when there is nothing else

A lone source is believed only within 20 % of the last good price, and where there is none, within ten times what the operator said: one
broken feed must not make invoices of one sat, nor of a thousand times too many. One that tells cents for dollars is a hundred times off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from timmy.clock import SECOND_MS, Clock
from timmy.pricing.quote import WHOLE_BP, BtcPrice
from timmy.pricing.sources import SOURCES, Fetch, Source, SourceDown, read_cents

REFRESH_SECONDS = 60
SOURCE_TIMEOUT_SECONDS = 5
AGREE_BP = 500  # 5 %
LONE_JUMP_BP = 2_000  # 20 %
LONE_TIMES_MAX = 10  # above or below the fallback, which may be years old
FRESH_SECONDS = 2 * REFRESH_SECONDS + SOURCE_TIMEOUT_SECONDS  # one missed round is nothing to speak of

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one round of asking came to. `cents` None: nothing that can be believed."""

    cents: int | None
    why: str


@dataclass(frozen=True, slots=True)
class OracleStatus:
    """For an operator: who answered in the last round, and who did not, and why."""

    answered: Mapping[str, int] = field(default_factory=dict)  # cents per bitcoin, by source
    silent: Mapping[str, str] = field(default_factory=dict)  # the reason, by source
    verdict: str = "nobody asked yet"


def _ignore(_name: str) -> None: ...


class BtcOracle:
    """`sources` may be empty: then the fallback is the price, and nothing is ever asked."""

    def __init__(
        self,
        sources: Sequence[str],
        *,
        fallback_cents: int,
        max_age_seconds: int,
        clock: Clock,
        fetch: Fetch,
        on_silence: Callable[[str], None] = _ignore,
    ) -> None:
        self._sources = tuple(SOURCES[name] for name in sources)
        self._fallback_cents = fallback_cents
        self._max_age_ms = max_age_seconds * SECOND_MS
        self._clock = clock
        self._fetch = fetch
        self._on_silence = on_silence
        self._last_good: BtcPrice | None = None
        self._task: asyncio.Task[None] | None = None
        self.status = OracleStatus()

    def price(self) -> BtcPrice:
        """What a bitcoin costs, as far as is known now. Never waits, never fails."""
        now_ms = self._clock.now_ms()
        good = self._young_enough(now_ms)
        if good is None:
            return BtcPrice(self._fallback_cents, "fallback", now_ms)
        age_ms = max(0, now_ms - good.at_ms)
        if age_ms <= FRESH_SECONDS * SECOND_MS:
            return good
        return BtcPrice(good.cents_per_btc, f"last good, {age_ms // (60 * SECOND_MS)} min old", good.at_ms)

    async def refresh(self) -> None:
        """Ask everybody once. Takes at most SOURCE_TIMEOUT_SECONDS, whatever they do."""
        if not self._sources:
            return
        answers = await asyncio.gather(*(self._ask(source) for source in self._sources))
        told = {source.name: answer for source, answer in zip(self._sources, answers, strict=True) if isinstance(answer, int)}
        silent = {source.name: answer for source, answer in zip(self._sources, answers, strict=True) if isinstance(answer, str)}
        now_ms = self._clock.now_ms()
        good = self._young_enough(now_ms)
        opinion = weigh(told, good.cents_per_btc if good else None, self._fallback_cents)
        if opinion.cents is not None:
            self._last_good = BtcPrice(opinion.cents, opinion.why, now_ms)
        self.status = OracleStatus(told, silent, opinion.why)
        for name, reason in silent.items():
            self._on_silence(name)
            log.info("price_source_silent", source=name, reason=reason)
        if opinion.cents is None:
            log.warning("no_price_of_bitcoin", why=opinion.why, now_used=self.price().source)

    def start(self) -> None:
        """Begin to ask in the background. Without sources there is nothing to begin."""
        if self._sources and self._task is None:
            self._task = asyncio.create_task(self._keep_asking(), name="btc-price")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _keep_asking(self) -> None:
        while True:
            try:
                await self.refresh()
            except Exception:  # a bug in here must not end the asking: without it every price would be the fallback for ever, unnoticed
                log.exception("price_refresh_broke")
            await asyncio.sleep(REFRESH_SECONDS)

    async def _ask(self, source: Source) -> int | str:
        """Cents, or why there are none."""
        try:
            async with asyncio.timeout(SOURCE_TIMEOUT_SECONDS):
                return read_cents(source, await self._fetch(source.url))
        except TimeoutError:
            return f"no answer within {SOURCE_TIMEOUT_SECONDS} s"
        except SourceDown as error:
            return str(error)

    def _young_enough(self, now_ms: int) -> BtcPrice | None:
        good = self._last_good
        return good if good is not None and now_ms - good.at_ms <= self._max_age_ms else None


def weigh(told: Mapping[str, int], last_good_cents: int | None, fallback_cents: int | None = None) -> Opinion:
    """What several sources (cents per bitcoin, by name) come to together. Pure, and the same for any order of them. `fallback_cents`: what
    the operator said, for one that answers alone, with no last good price to hold it to; None: it is not held to anything then."""
    left = dict(sorted(told.items()))
    while len(left) > 2 and (odd := _odd_one_out(left)):
        del left[odd]
    names, cents = ", ".join(left), list(left.values())
    if not left:
        return Opinion(None, "no source answered")
    if len(told) == 1:
        if last_good_cents is not None and _apart(cents[0], last_good_cents, LONE_JUMP_BP):
            return Opinion(None, f"{names} alone is far from the last good price")
        if last_good_cents is None and fallback_cents is not None and not _within_times(cents[0], fallback_cents, LONE_TIMES_MAX):
            return Opinion(None, f"{names} alone is more than {LONE_TIMES_MAX} times away from the fallback")
        return Opinion(cents[0], names)
    agree = len(left) > 2 or not _apart(min(cents), max(cents), AGREE_BP)
    if agree and len(left) * 2 > len(told):
        return Opinion(_median(cents), f"median of {len(left)}: {names}")
    if last_good_cents is not None or min(cents) * 2 < max(cents):
        return Opinion(None, f"{', '.join(sorted(told))} disagree")
    return Opinion(min(cents), f"the lower of {', '.join(sorted(told))}, which disagree")


def _odd_one_out(left: Mapping[str, int]) -> str | None:
    """Whoever is farthest from the median of the others, if that is too far."""
    distance = {
        name: abs(cents - (others := _median([c for n, c in left.items() if n != name]))) * WHOLE_BP // others
        for name, cents in left.items()
    }
    worst = max(distance, key=lambda name: distance[name])
    return worst if distance[worst] > AGREE_BP else None


def _apart(cents: int, other_cents: int, limit_bp: int) -> bool:
    return abs(cents - other_cents) * WHOLE_BP > limit_bp * other_cents


def _within_times(cents: int, other_cents: int, times: int) -> bool:
    return cents <= other_cents * times and other_cents <= cents * times


def _median(cents: Sequence[int]) -> int:
    """Of an even number, the mean of the middle two, rounded down: the side of the house, by less than a cent."""
    ordered = sorted(cents)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2
