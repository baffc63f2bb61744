"""The operator's desk for programs: to look, and not to act."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from timmy.web import fields
from timmy.web.operations import ADMIN, Document, Endpoint, Operation, Sends
from timmy.web.operator import views
from timmy.web.operator.keys import OperatorKeys
from timmy.web.operator.protocol import OperatorsDesk
from timmy.web.refusals import AdminTokenWanted, FieldRepeated, FieldUnknown, RateLimited, WholeOutOfRange
from timmy.web.render import PRIVATE, private

DAYS_MAX, DAYS = 366, 30
LINES_MAX, LINES = 500, 50


class OperatorApi:
    def __init__(self, desk: OperatorsDesk, keys: OperatorKeys) -> None:
        self.desk = desk
        self.keys = keys

    async def summary(self, request: Request) -> Response:
        self.keys.reader(request)
        whole_of(request)
        return private(views.summary(await self.desk.summary()))

    async def days(self, request: Request) -> Response:
        self.keys.reader(request)
        return private(views.days(await self.desk.days(whole_of(request, "days", DAYS, DAYS_MAX))))

    async def days_csv(self, request: Request) -> Response:
        self.keys.reader(request)
        shown = await self.desk.days(whole_of(request, "days", DAYS, DAYS_MAX))
        headers = {**PRIVATE, "Content-Disposition": 'attachment; filename="timmy-days.csv"'}
        return Response(views.days_csv(shown), media_type="text/csv", headers=headers)

    async def jobs(self, request: Request) -> Response:
        self.keys.reader(request)
        return private(views.jobs(await self.desk.jobs(whole_of(request, "limit", LINES, LINES_MAX))))

    async def refunds(self, request: Request) -> Response:
        self.keys.reader(request)
        return private(views.refunds(await self.desk.refunds(whole_of(request, "limit", LINES, LINES_MAX))))

    async def tasks(self, request: Request) -> Response:
        self.keys.reader(request)
        return private(views.tasks(await self.desk.tasks(whole_of(request, "limit", LINES, LINES_MAX))))


def whole_of(request: Request, name: str = "", usual: int = 0, most: int = 0) -> int:
    """One whole number of the query, and nothing besides. FieldUnknown, FieldRepeated, WholeOutOfRange."""
    found = fields.query(request, (name,) if name else ())
    given = str(found.get(name, usual))
    if not name:
        return 0
    if not (given.isascii() and given.isdigit() and len(given) <= len(str(most)) and 1 <= int(given) <= most):
        raise WholeOutOfRange(f"{name} must be a whole number from 1 to {most}.", field=name, min=1, max=most)
    return int(given)


# Described ------------------------------------------------------------------------------------------------

REFUSES = (AdminTokenWanted, RateLimited, FieldUnknown)
WITH_NUMBER = (*REFUSES, FieldRepeated, WholeOutOfRange)
SUMS: Document = {
    "receivedMsat": 1_204_000, "paidMsat": 911_640, "freeMsat": 40_000, "absorbedMsat": 1_000, "refundedMsat": 201_000, "costUsd": 0.61,
}  # fmt: skip
EXAMPLES: dict[str, Document] = {
    "summary": {
        "at": "2026-01-31T12:00:00.000Z",
        "today": SUMS,
        "last7Days": SUMS,
        "last30Days": SUMS,
        "btcPriceUsd": 100_000,
        "standing": {
            "revenueMsat": 911_640, "poolMsat": 10_040_000, "poolReservedMsat": 0, "owedMsat": 41_000, "inFlightMsat": 0,
            "sessionsMsat": 495_712, "sessionsOpen": 1, "jobsMsat": 0, "bootstrapMsat": 0,
            "unallocatedMsat": 0,
        },
        "upstreams": [{"name": "wallet", "kind": "lnbits", "status": "ok", "latencyMs": 42, "detail": None}],
        "audit": {"at": "2026-01-31T11:59:00.000Z", "whole": False, "holds": True, "broken": [], "checks": 2, "running": False},
        "breakers": [],
        "alerts": [{"grave": False, "words": "2000 sats arrived that belong to nothing known."}],
        "standIns": [],
    },
    "days": {"days": [{"day": "2026-01-31", **SUMS}]},
    "jobs": {
        "jobs": [
            {
                "jobId": "job_4o2x", "state": "complete", "createdAt": "2026-01-31T11:00:00.000Z", "evalFeeMsat": 10_000,
                "quotedMsat": 21_000, "paidMsat": 10_640, "absorbedByPoolMsat": 0, "realCostMsat": 7_600, "marginMsat": 3_040,
            }
        ]
    },
    "refunds": {
        "owed": [{"to": "job_4o2x", "msat": 10_000}],
        "payouts": [
            {
                "id": "pay_7q", "subject": "job_9s", "msat": 41_000, "state": "planned", "tries": 1, "since": "2026-01-31T10:00:00.000Z",
                "needsYou": True, "laidAside": False, "says": "the wallet does not know yet",
            }
        ],
        "laidAsideMsat": 0,
    },
    "tasks": {"parked": [{"id": "execute/job_9s", "attempts": 12, "trouble": "KeyError"}], "waiting": {"sweep": 1}},
}  # fmt: skip


def operations(desk: OperatorsDesk, keys: OperatorKeys) -> tuple[Operation, ...]:
    api = OperatorApi(desk, keys)
    days, lines = number("days", "How many, today included.", DAYS, DAYS_MAX), number("limit", "At most so many.", LINES, LINES_MAX)
    csv = Sends(200, "The same days, a line for each.", media_type="text/csv")
    return (
        _look("summary", "The desk at a glance", "What came in and went out, what is owed, and what wants a person.", api.summary),
        _look("days", "Money by UTC day", "Paid, free, absorbed and refunded are kept apart.", api.days, days),
        _look("days.csv", "Money by UTC day, for a spreadsheet", "In millisats.", api.days_csv, days, csv),
        _look("jobs", "The newest jobs", "What each was quoted, paid, and really cost. Not what was asked or answered.", api.jobs, lines),
        _look("refunds", "What is owed back", "And the payouts, first those that do not get on by themselves.", api.refunds, lines),
        _look("tasks", "What waits to be done", "And what was laid aside for a person.", api.tasks, lines),
    )


def _look(
    name: str, summary: str, about: str, endpoint: Endpoint, parameter: Document | None = None, sends: Sends | None = None
) -> Operation:
    return Operation(
        method="GET",
        path=f"/api/admin/{name}",
        name=f"operator{name.title().replace('.', '')}",
        summary=summary,
        about=about,
        endpoint=endpoint,
        sends=(sends or Sends(200, "As it stands now.", f"Operator{name.title()}", example=EXAMPLES[name]),),
        refuses=WITH_NUMBER if parameter else REFUSES,
        parameters=(parameter,) if parameter else (),
        proof=ADMIN,
        tag="operator",
    )


def number(name: str, about: str, usual: int, most: int) -> Document:
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": usual}
    return {"name": name, "in": "query", "required": False, "description": about, "schema": schema}
