"""How the node behind the wallet is, for programs and as a page that runs no script."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from timmy.clock import iso
from timmy.ledger import chart
from timmy.lightning.diagnosis import Books, Row, Word, worst
from timmy.web import fields
from timmy.web.markup import Markup, el
from timmy.web.operations import ADMIN, Document, Operation, PageRoute, Sends
from timmy.web.operator.bars import scroll
from timmy.web.operator.keys import OperatorKeys
from timmy.web.operator.page import LINKS, sign_in_page
from timmy.web.operator.protocol import NodeStatus
from timmy.web.plain.paying import when
from timmy.web.plain.routes import told_on_a_page
from timmy.web.plain.sheet import sheet
from timmy.web.refusals import AdminTokenWanted, FieldUnknown, RateLimited
from timmy.web.render import private

PATH = "/api/admin/node-status"
REFRESH_SECONDS = 15
Look = Callable[[], Awaitable[NodeStatus]]

# A sign beside the word, for who sees no colours.
SIGNS = {Word.OK: ("✓", "ok"), Word.WARN: ("!", "warn"), Word.FAIL: ("✗", "err"), Word.UNKNOWN: ("?", "low")}
IN_ALL = {
    Word.OK: "The node is well.",
    Word.WARN: "Something wants you before long.",
    Word.FAIL: "Something does not work.",
}
HEADS = ("check", "how", "what", "answered in", "last good", "what to do")


class NodePages:
    def __init__(self, look: Look, keys: OperatorKeys) -> None:
        self.look = look
        self.keys = keys

    async def as_json(self, request: Request) -> Response:
        self.keys.reader(request)
        fields.query(request, ())
        return private(document(await self.look()))

    async def as_page(self, request: Request) -> Response:
        if self.keys.signed_in(request) is None:
            if "authorization" not in request.headers:
                return sign_in_page(status=401)
            self.keys.program(request)
        return page(await self.look(), still=request.query_params.get("still") == "1")


def routes(look: Look, keys: OperatorKeys) -> tuple[BaseRoute, ...]:
    return (PageRoute(f"{PATH}/html", told_on_a_page(NodePages(look, keys).as_page), methods=["GET"]),)


def document(shown: NodeStatus) -> Document:
    return {
        "at": iso(shown.at_ms),
        "status": worst(shown.rows).value,
        "wallet": {"kind": shown.kind, "network": shown.network},
        "books": books(shown.books) if shown.books is not None else None,
        "checks": [check(row) for row in shown.rows],
    }


def books(told: Books) -> Document:
    kinds = {
        "jobsMsat": "job",
        "sessionsMsat": "session",
        "bootstrapMsat": "bootstrap",
        "owedMsat": "owed",
        "inFlightMsat": "in_flight",
        "poolMsat": chart.POOL,
        "unallocatedMsat": chart.UNALLOCATED,
        "revenueMsat": chart.REVENUE,
    }
    return {"holdsMsat": told.standing.holds.value, **{name: told.of(kind).value for name, kind in kinds.items()}}


def check(row: Row) -> Document:
    return {
        "name": row.name,
        "status": row.word.value,
        "value": row.value,
        "latencyMs": row.latency_ms,
        "lastGood": None if row.last_good_ms is None else iso(row.last_good_ms),
        "hint": row.hint,
    }


def page(shown: NodeStatus, *, still: bool) -> Response:
    word = worst(shown.rows)
    sign, look = SIGNS[word]
    on = f"{shown.kind} on {shown.network}" if shown.network else shown.kind
    return sheet(
        "The node · Timmy",
        el("h1", "The node"),
        el("p", f"{sign} {word.value}: {IN_ALL[word]}", class_=f"state {look}", role="status"),
        el("p", f"The wallet is {on}. Looked at {when(shown.at_ms)}.", class_="low"),
        el("section", _table(shown), el("p", "As JSON: ", el("a", PATH, href=PATH), class_="hint"), class_="card"),
        refresh_seconds=REFRESH_SECONDS,
        still=still,
        links=LINKS,
        wide=True,
    )


def _table(shown: NodeStatus) -> Markup:
    head = el("tr", *(el("th", words, scope="col") for words in HEADS))
    table = el("table", el("caption", "Checks"), el("thead", head), el("tbody", *(_line(row) for row in shown.rows)))
    return scroll("Checks", table, is_whole=True)


def _line(row: Row) -> Markup:
    sign, look = SIGNS[row.word]
    return el(
        "tr",
        el("th", row.name.replace("_", " "), scope="row"),
        el("td", f"{sign} {row.word.value}", class_=look),
        el("td", row.value),
        el("td", "" if row.latency_ms is None else f"{row.latency_ms:,} ms", class_="n"),
        el("td", "" if row.last_good_ms is None else when(row.last_good_ms)),
        el("td", row.hint or ""),
    )


# Described ------------------------------------------------------------------------------------------------

EXAMPLE: Document = {
    "at": "2026-01-31T12:00:00.000Z",
    "status": "warn",
    "wallet": {"kind": "electrum", "network": "mainnet"},
    "books": {
        "holdsMsat": 5_123_000, "jobsMsat": 0, "sessionsMsat": 495_712, "bootstrapMsat": 0, "owedMsat": 41_000, "inFlightMsat": 0,
        "poolMsat": 310_040, "unallocatedMsat": 0, "revenueMsat": 4_276_248,
    },
    "checks": [
        {
            "name": "channels", "status": "warn", "value": "2 active, 1 inactive", "latencyMs": None, "lastGood": None,
            "hint": "The peers of the inactive ones are away. If it stays so for days, close them.",
        }
    ],
}  # fmt: skip
REFUSES = (AdminTokenWanted, RateLimited, FieldUnknown)


def operations(look: Look, keys: OperatorKeys) -> tuple[Operation, ...]:
    pages = NodePages(look, keys)
    return (
        Operation(
            method="GET",
            path=PATH,
            name="operatorNodeStatus",
            summary="How the node behind the wallet is",
            about="Each check with what to do. What a backend does not tell is `unknown`. Asked of the wallet every few seconds at most.",
            endpoint=pages.as_json,
            sends=(Sends(200, "As it stands, whatever it is; `status` says how.", "NodeStatus", example=EXAMPLE),),
            refuses=REFUSES,
            proof=ADMIN,
            tag="operator",
        ),
    )
