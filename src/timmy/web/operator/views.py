"""The operator's desk as JSON, and its days as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from timmy.clock import iso
from timmy.money import Msats
from timmy.web import views
from timmy.web.operator.protocol import Audit, Breaker, Day, JobLine, Payout, Refunds, Standing, Summary, Sums, Tasks, Upstream

Document = dict[str, object]
COLUMNS = ("day", "receivedMsat", "paidMsat", "freeMsat", "absorbedMsat", "refundedMsat", "costUsd")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def summary(shown: Summary) -> Document:
    return {
        "at": iso(shown.at_ms),
        "today": sums(shown.today),
        "last7Days": sums(shown.week),
        "last30Days": sums(shown.month),
        "btcPriceUsd": views.hundredths(shown.cents_per_btc),
        "standing": standing(shown.standing),
        "upstreams": [upstream(part) for part in shown.upstreams],
        "audit": audit(shown.audit),
        "breakers": [breaker(one) for one in shown.breakers],
        "alerts": [{"grave": alert.grave, "words": alert.words} for alert in shown.alerts],
        "standIns": list(shown.stand_ins),
    }


def sums(of: Sums) -> Document:
    return {
        "receivedMsat": of.received.value,
        "paidMsat": of.paid.value,
        "freeMsat": of.free.value,
        "absorbedMsat": of.absorbed.value,
        "refundedMsat": of.refunded.value,
        "costUsd": views.dollars(of.cost),
    }


def standing(now: Standing) -> Document:
    return {
        "revenueMsat": now.revenue.value,
        "poolMsat": now.pool.value,
        "poolReservedMsat": now.pool_reserved.value,
        "owedMsat": now.owed.value,
        "inFlightMsat": now.in_flight.value,
        "sessionsMsat": now.sessions.value,
        "sessionsOpen": now.sessions_open,
        "jobsMsat": now.jobs.value,
        "bootstrapMsat": now.bootstrap.value,
        "unallocatedMsat": now.unallocated.value,
    }


def upstream(part: Upstream) -> Document:
    return {"name": part.name, "kind": part.kind, "status": part.condition, "latencyMs": part.latency_ms, "detail": part.trouble}


def audit(last: Audit) -> Document:
    return {
        "at": None if last.at_ms is None else iso(last.at_ms),
        "whole": last.whole,
        "holds": not last.broken,
        "broken": list(last.broken),
        "checks": last.checks,
        "running": last.running,
    }


def breaker(one: Breaker) -> Document:
    return {"name": one.name, "reason": one.reason, "since": iso(one.since_ms), "amountMsat": one.amount.value}


def days(shown: Sequence[Day]) -> Document:
    return {"days": [{"day": day.day, **sums(day.sums)} for day in shown]}


def days_csv(shown: Sequence[Day]) -> str:
    """Whole millisats: a spreadsheet adds them up without losing any."""
    return as_csv(COLUMNS, ([day.day, *sums(day.sums).values()] for day in shown))


def as_csv(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """RFC 4180. A text that a spreadsheet would compute gets an apostrophe before it, which makes a text of it again."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(head)
    writer.writerows([cell(value) for value in line] for line in lines)
    return out.getvalue()


def cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def jobs(shown: Sequence[JobLine]) -> Document:
    return {"jobs": [job(line) for line in shown]}


def job(line: JobLine) -> Document:
    return {
        "jobId": line.id,
        "state": line.state,
        "createdAt": iso(line.at_ms),
        "evalFeeMsat": line.eval_fee.value,
        "quotedMsat": _or_null(line.quoted),
        "paidMsat": _or_null(line.paid),
        "absorbedByPoolMsat": line.absorbed.value,
        "realCostMsat": _or_null(line.real),
        "marginMsat": line.margin_msat,
    }


def _or_null(amount: Msats | None) -> int | None:
    return None if amount is None else amount.value


def refunds(shown: Refunds) -> Document:
    return {
        "owed": [{"to": one.to, "msat": one.amount.value} for one in shown.owed],
        "payouts": [payout(one) for one in shown.payouts],
        "laidAsideMsat": shown.laid_aside.value,
    }


def payout(one: Payout) -> Document:
    return {
        "id": one.id,
        "subject": one.subject,
        "msat": one.amount.value,
        "state": one.state,
        "tries": one.tries,
        "since": iso(one.since_ms),
        "needsYou": one.needs_you,
        "laidAside": one.laid_aside,
        "says": one.says,
    }


def tasks(shown: Tasks) -> Document:
    return {
        "parked": [{"id": task.id, "attempts": task.attempts, "trouble": task.trouble} for task in shown.parked],
        "waiting": dict(shown.waiting),
    }
