"""The operator's desk as a page of words and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from timmy.money import Msats
from timmy.web.markup import NOTHING, Markup, el, together
from timmy.web.operator.alerts import sats
from timmy.web.operator.bars import bars, days_table, scroll
from timmy.web.operator.keys import SignedIn
from timmy.web.operator.protocol import Day, JobLine, Moved, Refunds, Stray, Summary, Sums, Tasks
from timmy.web.plain import forms
from timmy.web.plain.paying import when
from timmy.web.plain.sheet import sheet

LINKS = (
    ("/admin", "Desk"), ("/admin#days", "Days"), ("/admin#jobs", "Jobs"), ("/admin#refunds", "Refunds"), ("/admin#tasks", "Tasks"),
    ("/admin#books", "Books"), ("/api/admin/node-status/html", "Node"),
)  # fmt: skip
SPANS = (7, 30, 90)
TOKEN_CHARS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Desk:
    summary: Summary
    days: Sequence[Day]
    jobs: Sequence[JobLine]
    refunds: Refunds
    tasks: Tasks
    strays: Sequence[Stray]


def sign_in_page(trouble: Markup = NOTHING, status: int = 200) -> Response:
    asking = forms.form(
        "/admin/sign-in",
        forms.line("token", "ADMIN_TOKEN", chars_max=TOKEN_CHARS_MAX, kind="password", hint="As in this server's settings."),
        el("button", "Sign in", type="submit", class_="first"),
    )
    about = el("p", "For whoever runs this server. You stay signed in for eight hours, in this browser.")
    return sheet(
        "Operator's desk · Timmy", el("h1", "Operator's desk"), trouble, el("section", about, asking, class_="card"), status=status
    )


def desk_page(desk: Desk, who: SignedIn, *, span: int, said: str = "") -> Response:
    shown = desk.summary
    return sheet(
        "Operator's desk · Timmy",
        el("h1", "Operator's desk"),
        el("p", said, class_="card ok", role="status") if said else NOTHING,
        *(el("p", f"Stand-in: {words}", class_="warn") for words in shown.stand_ins),
        _alerts(shown),
        _tiles(shown),
        _breakers(shown, who),
        _days(desk.days, span),
        _upstreams(shown),
        _jobs(desk.jobs),
        _refunds(desk.refunds, who),
        _tasks(desk.tasks, who),
        _strays(desk.strays),
        _books(shown, who),
        acting("/admin/sign-out", who, "Sign out"),
        links=LINKS,
        wide=True,
    )


def acting(action: str, who: SignedIn, label: str, *, grave: bool = False, **fields: str) -> Markup:
    """A button that does something. The word says that a page of ours has made it, for whoever is signed in."""
    hidden = (forms.hidden(name, value) for name, value in {"word": who.word, **fields}.items())
    return forms.form(action, *hidden, el("button", label, type="submit", class_="grave" if grave else None))


def sure_page(action: str, who: SignedIn, question: str, label: str, **fields: str) -> Response:
    """What moves customers' or the pool's sats is asked about once more, with the amount."""
    yes = acting(action, who, label, grave=True, sure="yes", **fields)
    no = el("a", "No, back to the desk", href="/admin", class_="button")
    return sheet("Are you sure? · Timmy", el("h1", "Are you sure?"), el("p", question), el("div", yes, no, class_="buttons"), links=LINKS)


def _alerts(shown: Summary) -> Markup:
    if not shown.alerts:
        return el("p", "✓ Nothing wants you.", class_="state ok")
    lines = (
        el("li", el("a", "Grave: " if alert.grave else "To know: ", href=alert.at, class_="err" if alert.grave else "warn"), alert.words)
        for alert in shown.alerts
    )
    return el("section", el("h2", "What wants you"), el("ul", *lines), class_="card", aria_label="Alerts")


def _tiles(shown: Summary) -> Markup:
    now = shown.standing
    tiles = (
        *(
            _income(name, sums, shown.cents_per_btc)
            for name, sums in (("today", shown.today), ("7 days", shown.week), ("30 days", shown.month))
        ),
        _tile("Given by the pool, 30 days", shown.month.free, ""),
        _tile("Absorbed by the house, 30 days", shown.month.absorbed, "what the network took for payouts"),
        _tile("Sent back, 30 days", shown.month.refunded, ""),
        _tile("In the pool", now.pool, f"{sats(now.pool_reserved)} of it promised"),
        _tile("Owed to customers", now.owed, f"and {sats(now.in_flight)} on the way"),
        _tile("In balances", now.sessions, f"of {now.sessions_open:,} sessions"),
        _tile("In jobs under way", now.jobs, "paid, not yet earned"),
        _tile("In nodes being made", now.bootstrap, "paid, not yet earned"),
        _tile("Belongs to nothing known", now.unallocated, ""),
        _tile("Earned, ever, and ours", now.revenue, ""),
    )
    return el("ul", *tiles, class_="tiles")


def _income(span: str, of: Sums, cents_per_btc: int) -> Markup:
    """Beside what the models cost, at today's price of a bitcoin."""
    cost = of.cost.at(cents_per_btc=cents_per_btc)
    margin_msat = of.paid.value + of.free.value - cost.value
    return _tile(f"Paid by customers, {span}", of.paid, f"models ${of.cost} (≈ {sats(cost)} sats); margin ≈ {signed(margin_msat)} sats")


def _tile(name: str, amount: Msats, note: str) -> Markup:
    return el("li", name, el("b", f"{sats(amount)} sats"), el("span", note, class_="low") if note else None)


def signed(msat: int) -> str:
    return f"−{sats(Msats(-msat))}" if msat < 0 else sats(Msats(msat))


def _breakers(shown: Summary, who: SignedIn) -> Markup:
    stopped = {one.name for one in shown.breakers}
    lines: list[Markup] = []
    for one in shown.breakers:
        go_on = acting("/admin/go-on", who, f"Let {one.name} go on", name=one.name) if one.can_reset else None
        lines.append(el("div", el("p", f"{one.name} stopped since {when(one.since_ms)}: {one.reason}", class_="err"), go_on))
    for name, words in (("payouts", "Stop all payouts"), ("pool", "Stop gifts of the pool")):
        if name not in stopped:
            lines.append(acting("/admin/stop", who, words, name=name))
    return el("section", el("h2", "Switches"), el("div", *lines, class_="buttons"), class_="card", id="breakers")


def _days(days: Sequence[Day], span: int) -> Markup:
    spans = (
        together(el("a", f"{count} days", href=f"/admin?days={count}#days", aria_current="true" if count == span else None), " ")
        for count in SPANS
    )
    csv = el("a", "CSV", href=f"/api/admin/days.csv?days={span}")
    return el("section", el("h2", "Money by day"), el("p", *spans, csv), bars(days), days_table(days), class_="card", id="days")


def _upstreams(shown: Summary) -> Markup:
    lines = [
        (part.name, part.kind, part.condition, "" if part.latency_ms is None else f"{part.latency_ms:,} ms", part.trouble or "")
        for part in shown.upstreams
    ]
    return el("section", el("h2", "What we depend on"), table("Upstreams", ("part", "what", "how", "last answer", "trouble"), lines, (3,)),
              class_="card", id="upstreams")  # fmt: skip


def _jobs(jobs: Sequence[JobLine]) -> Markup:
    lines = [
        (el("a", line.id, href=f"/admin/jobs/{line.id}"), line.state, when(line.at_ms), _or_dash(line.quoted), _or_dash(line.paid),
         sats(line.absorbed) if line.absorbed else "", _or_dash(line.real), "–" if line.margin_msat is None else signed(line.margin_msat))
        for line in jobs
    ]  # fmt: skip
    heads = ("job", "state", "since", "quoted", "paid", "by the pool", "real cost", "margin")
    return el("section", el("h2", "Newest jobs"), table("Newest jobs, in sats", heads, lines, (3, 4, 5, 6, 7)), class_="card", id="jobs")


def _or_dash(amount: Msats | None) -> str:
    return "–" if amount is None else sats(amount)


def _refunds(refunds: Refunds, who: SignedIn) -> Markup:
    owed = [(one.to, sats(one.amount)) for one in refunds.owed]
    lines = [
        (
            one.id,
            one.subject,
            sats(one.amount),
            _payout_state(one.state),
            str(one.tries),
            when(one.since_ms),
            "yes" if one.needs_you else "",
            one.says,
        )
        for one in refunds.payouts
    ]
    retry = (
        acting("/admin/refunds/retry", who, f"Try again what is laid aside: {sats(refunds.laid_aside)} sats")
        if refunds.laid_aside
        else None
    )
    return el(
        "section",
        el("h2", "Refunds"),
        table("Owed, and not on its way", ("to", "sats"), owed, (1,)),
        table("Payouts", ("payout", "for", "sats", "state", "tries", "since", "wants you", "what it says"), lines, (2, 4)),
        retry,
        el("p", "How one ended, and what may exceed a limit, is said in a terminal: timmy refunds.", class_="hint"),
        class_="card",
        id="refunds",
    )


def _payout_state(state: str) -> str:
    return {"planned": "on its way", "sent": "arrived"}.get(state, state)


def _tasks(tasks: Tasks, who: SignedIn) -> Markup:
    parked = [
        (task.id, str(task.attempts), task.trouble, acting("/admin/tasks/retry", who, "Try again", id=task.id)) for task in tasks.parked
    ]
    waiting = [(kind, f"{count:,}") for kind, count in sorted(tasks.waiting.items())]
    return el(
        "section",
        el("h2", "Tasks"),
        table("Laid aside for you", ("task", "attempts", "why", ""), parked, (1,)),
        table("Waiting", ("kind", "how many"), waiting, (1,)),
        class_="card",
        id="tasks",
    )


def _strays(strays: Sequence[Stray]) -> Markup:
    lines = [(when(one.at_ms), sats(one.amount), one.state, one.payment_hash) for one in strays]
    shown = table("Payments that belonged to nothing known", ("when", "sats", "where they are", "payment hash"), lines, (1,))
    hint = el("p", "Whose one is, is said in a terminal: timmy strays.", class_="hint")
    return el("section", el("h2", "Strays"), shown, hint, class_="card", id="strays")


def _books(shown: Summary, who: SignedIn) -> Markup:
    last = shown.audit
    if last.at_ms is None:
        told = el("p", "They have not been checked since this server was started.")
    elif last.broken:
        told = el(
            "div",
            el("p", f"✗ They do not close, as of {when(last.at_ms)}:", class_="state err"),
            el("ul", *(el("li", one) for one in last.broken)),
        )
    else:
        told = el(
            "p",
            f"✓ They close: {last.checks} promises, {'all transfers' if last.whole else 'by the balances'}, {when(last.at_ms)}.",
            class_="ok",
        )
    running = el("p", "◌ They are being read through now. Look again in a moment.", class_="warn") if last.running else None
    return el(
        "section", el("h2", "Books"), told, running or acting("/admin/audit", who, "Read the books through"), class_="card", id="books"
    )


def job_page(line: JobLine, moved: Sequence[Moved]) -> Response:
    facts = [
        ("State", line.state), ("Since", when(line.at_ms)), ("Check fee", sats(line.eval_fee)), ("Quoted", _or_dash(line.quoted)),
        ("Paid for the work", _or_dash(line.paid)), ("Absorbed by the pool", sats(line.absorbed)), ("Real cost", _or_dash(line.real)),
        ("Margin", "–" if line.margin_msat is None else signed(line.margin_msat)),
    ]  # fmt: skip
    lines = [(when(one.at_ms), one.code, one.kind, one.debit, one.credit, sats(one.amount), one.id) for one in moved]
    heads = ("when", "what for", "kind", "from", "to", "sats", "transfer")
    return sheet(
        f"{line.id} · Timmy",
        el("h1", line.id),
        el("section", el("h2", "In sats"), table("The job", ("", ""), facts, (1,)), class_="card"),
        el("section", el("h2", "Its transfers"), table("Transfers", heads, lines, (5,)), class_="card"),
        links=LINKS,
        wide=True,
    )


def table(name: str, heads: Sequence[str], lines: Sequence[Sequence[Markup | str]], numbers: Sequence[int] = ()) -> Markup:
    """`numbers`: which columns are figures."""
    if not lines:
        return el("p", f"{name}: none.", class_="low")
    head = el(
        "tr", *(el("th", words, scope="col", class_="n" if n in numbers else None) if words else el("td") for n, words in enumerate(heads))
    )
    body = (el("tr", *(el("td", value, class_="n" if n in numbers else None) for n, value in enumerate(line))) for line in lines)
    return scroll(name, el("table", el("caption", name), el("thead", head), el("tbody", *body)))
