"""Carrying jobs through their lives: one event, one transaction, in which the job moves, its money moves, what comes next is written
down, and what happened is told. Every verb takes many jobs at once; one job is a list of one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import structlog

from timmy import events, generosity, idempotency, tasks
from timmy.db import Row, Tx
from timmy.errors import Breach
from timmy.events import NewEvent
from timmy.generosity import Ask, Decision, Free, Gift, day_of, decide_all, reserve_up_to
from timmy.generosity.pool import record_grants
from timmy.idempotency import Key
from timmy.identity import trust
from timmy.jobs import machine, store
from timmy.jobs.machine import EvalPaid, GivenFree, IllegalTransition, Job, PaidShort, Unpaid, WorkPaid
from timmy.jobs.model import State
from timmy.ledger import Code, Entry, Move, MoveAll, chart, commit_all
from timmy.ledger.commit import hold_still
from timmy.lightning import again, invoices, payouts
from timmy.lightning.invoices import Crediting, Invoice, Payment
from timmy.lightning.payouts import Payout
from timmy.lightning.wallets.protocol import NewInvoice
from timmy.models import Usage
from timmy.money import Msats, NanoUsd
from timmy.pricing import Quote
from timmy.tasks import NewTask, Task

EVAL, WORK = "job_eval", "job_work"  # the purposes of a job's two invoices
SUBMIT = "jobs.submit"
REFUND_ADDRESS = "lightning_address"  # the destination of a refund that goes where the customer said at the beginning

log = structlog.get_logger("timmy.jobs")


@dataclass(frozen=True, slots=True)
class Opening:
    """A job that is about to exist: its evaluation invoice has been made by the wallet."""

    job_id: str
    request: str
    refund_to: str | None
    eval_fee: Msats
    invoice_id: str
    invoice: NewInvoice
    key: Key | None
    at_ms: int
    pubkey: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Something happened to a job."""

    job_id: str
    event: machine.Event
    at_ms: int
    credit: Move | None = None  # a payment to the job's account that comes with the event, applied in the same unit


@dataclass(frozen=True, slots=True)
class Outcome:
    """A task came to its end, and this is what happened to its job by that. `made`: the invoice that the step offers."""

    task: Task
    step: Step
    made: tuple[str, NewInvoice] | None = None


def open_all(tx: Tx, openings: Sequence[Opening]) -> list[str | Exception]:
    """Write new jobs down. Answers each one's id: an earlier job's, where its Idempotency-Key has one already."""
    ids: list[str | Exception] = []
    fresh: list[Opening] = []
    for opening in openings:
        id: str | Exception = opening.job_id
        if opening.key is not None:
            try:
                id = idempotency.bind(tx, SUBMIT, opening.key, opening.job_id, opening.at_ms)
            except idempotency.KeyReused as refusal:
                id = refusal
        ids.append(id)
        if id == opening.job_id:
            fresh.append(opening)
    if fresh:
        invoices.open_all(tx, [(opening.invoice_id, opening.invoice) for opening in fresh], fresh[0].at_ms)
        store.insert(tx, [_new_row(opening) for opening in fresh])
        events.append(tx, fresh[0].at_ms, [_news(opening.job_id, State.AWAITING_EVAL_PAYMENT) for opening in fresh])
    return ids


def advance_all(tx: Tx, steps: Sequence[Step], rules: Rules, rows: Mapping[str, Row] | None = None) -> list[IllegalTransition | None]:
    """Move many jobs, each by one event. A job that the event does not fit stays as it is, and its outcome says so. `rows`: the jobs, where
    the caller has locked them already in this transaction, and has not moved them since."""
    if len({step.job_id for step in steps}) < len(steps):
        raise Breach("two events for one job in one group: each is to be tried alone")
    if rows is None:
        rows = store.lock(tx, [step.job_id for step in steps])
    outcomes: list[IllegalTransition | None] = []
    moves: list[Row] = []
    money: list[Sequence[Any]] = []
    next_tasks: list[NewTask] = []
    news: list[NewEvent] = []
    lessons: list[trust.Change] = []
    gifts: list[tuple[Gift, Msats]] = []
    for step in steps:
        row = rows[step.job_id]
        job = job_of(row)
        try:
            state, decision = machine.decide(job, step.event)
        except IllegalTransition as illegal:
            outcomes.append(illegal)
            continue
        outcomes.append(None)
        moves.append(_moved(row, state, decision, step.at_ms))
        money.append(decision.money if step.credit is None else (step.credit, *decision.money))
        next_tasks += [NewTask(kind, job.id, step.at_ms) for kind in decision.tasks]
        if state is not job.state:
            news.append(_news(job.id, state))
        lessons += _lesson(row, state, decision, step.event)
        if job.gift is not None and decision.learned.get("absorbed"):
            gifts.append((job.gift, decision.learned["absorbed"]))
    if moves:
        if store.move(tx, moves) != len(moves):
            raise Breach("a job moved while it was locked")
        for refusal in commit_all(tx, steps[0].at_ms, money):
            if refusal is not None:
                raise Breach("a job's account does not hold what was paid into it") from refusal
        record_grants(tx, gifts, steps[0].at_ms)
        trust.change_all(tx, lessons, rules.trust, steps[0].at_ms)
        tasks.add(tx, next_tasks)
        events.append(tx, steps[0].at_ms, news)
    return outcomes


def _lesson(row: Row, state: State, decision: machine.Decision, event: machine.Event) -> list[trust.Change]:
    """What the customer's key learns from the job's end. Only what they paid themselves raises a score: free work earns nothing. A failure
    of ours lowers none."""
    if row["pubkey"] is None or state not in (State.COMPLETE, State.REJECTED, State.FAILED):
        return []
    if isinstance(event, machine.Broke) and not event.blames:
        return []
    done = state is State.COMPLETE
    charged: Msats = decision.learned["charged"] if done else Msats(0)
    paid = charged + Msats(row["eval_fee_msat"]) if charged else charged  # the judging was theirs to pay too
    why = {State.COMPLETE: "work_paid" if paid else "work_given", State.REJECTED: "rejected", State.FAILED: "failed"}[state]
    return [trust.Change(f"job/{row['id']}", row["pubkey"], why, done, paid)]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the flow asks other rooms for inside its transactions: how generous the house is, and what a key learns from a job."""

    giving: generosity.Terms
    trust: trust.Terms


class NotFree(Exception):
    """The pool, or the day's budget, was drained since the look that said "free": nothing was changed, the task is still ours, and
    `decision` is what can be had instead."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(str(decision))
        self.decision = decision


def finish_all(tx: Tx, outcomes: Sequence[Outcome], rules: Rules) -> list[NotFree | None]:
    """End tasks and move their jobs, together or not at all. What a claimant brings whose lease has passed on is dropped."""
    ours = tasks.held(tx, [outcome.task for outcome in outcomes])
    refused = _reserve_gifts(tx, [outcome.step for outcome in outcomes if outcome.task.id in ours], rules)
    held = [outcome for outcome in outcomes if outcome.task.id in ours and outcome.step.job_id not in refused]
    tasks.cross_off(tx, [outcome.task.id for outcome in held])
    made = [outcome.made for outcome in held if outcome.made is not None]
    if made:
        invoices.open_all(tx, made, held[0].step.at_ms)
    if held:
        for outcome, illegal in zip(held, advance_all(tx, [outcome.step for outcome in held], rules), strict=True):
            if illegal is not None:
                log.warning("jobs.outcome_dropped", task=outcome.task.id, why=illegal.message)
    return [refused.get(outcome.step.job_id) if outcome.task.id in ours else None for outcome in outcomes]


def _reserve_gifts(tx: Tx, steps: Sequence[Step], rules: Rules) -> dict[str, NotFree]:
    """Decide and reserve for the jobs that are to be free, in one step: a look now and a reservation later would let a thousand callers
    see the same last sat."""
    free = [(step, step.event) for step in steps if isinstance(step.event, GivenFree)]
    if not free:
        return {}
    rows = store.lock(tx, [step.job_id for step, _ in free])
    free = [(step, event) for step, event in free if State(rows[step.job_id]["state"]) is State.EVALUATING]
    asks = [Ask(event.gift, event.quote.price.msats, step.at_ms) for step, event in free]
    decisions = decide_all(tx, asks, rules.giving) if asks else []
    return {step.job_id: NotFree(decision) for (step, _), decision in zip(free, decisions, strict=True) if not isinstance(decision, Free)}


def paid_all(tx: Tx, payments: Sequence[Payment], *, kind: type[EvalPaid] | type[WorkPaid], awaited: State, rules: Rules) -> None:
    """Called in the transaction that settles the payments, and credits them: jobs that wait for them go on, and for the others the sats
    are owed back."""
    rows = store.lock(tx, [payment.invoice.subject for payment in payments])
    _lock_for_gifts(tx, payments, rows)
    steps: list[Step] = []
    late: list[Payment] = []
    early: list[Payment] = []  # the job is under way: the sats rest in its account, and are owed back when it ends
    for payment in payments:
        row = rows[payment.invoice.subject]
        if State(row["state"]) is awaited and payment.invoice.id == row["eval_invoice" if kind is EvalPaid else "work_invoice"]:
            steps.append(Step(row["id"], _paid_event(tx, row, payment, kind, rules), payment.at_ms, payment.credit))
        elif State(row["state"]).is_final:
            late.append(payment)
        else:
            early.append(payment)
    if early:
        commit_all(tx, early[0].at_ms, [[payment.credit] for payment in early])
    if steps:
        for outcome in advance_all(tx, steps, rules, rows):
            if outcome is not None:
                raise outcome
    if late:
        _owe_late(tx, late, rows)


def _lock_for_gifts(tx: Tx, payments: Sequence[Payment], rows: dict[str, Row]) -> None:
    """Where the pool helps, its accounts are locked before the credits are applied: so everything is locked here, in one order. Without
    this, two settling processes could each hold what the other waits for."""
    if not any(rows[payment.invoice.subject]["gift_offered_msat"] for payment in payments):
        return
    touched = {chart.LIGHTNING, chart.POOL, chart.REVENUE, chart.ALLOWANCES, chart.ALLOWANCES_USED}
    for payment in payments:
        row = rows[payment.invoice.subject]
        touched.add(payment.invoice.account)
        if row["pubkey"] and row["gift_offered_msat"]:
            touched.add(chart.allowance(row["pubkey"], day_of(payment.at_ms)))
    hold_still(tx, touched)


def _paid_event(tx: Tx, row: Row, payment: Payment, kind: type[EvalPaid] | type[WorkPaid], rules: Rules) -> machine.Event:
    if not payment.is_enough:
        return PaidShort()
    if kind is EvalPaid:
        return EvalPaid()
    # What the pool can give now, perhaps less than it offered: the customer has paid, so the work goes on within what there is.
    gift = job_of(row).gift
    if gift is None or not row["gift_offered_msat"]:
        return WorkPaid()
    today = replace(gift, day=day_of(payment.at_ms))
    return WorkPaid(reserve_up_to(tx, today, Msats(row["gift_offered_msat"]), rules.giving, payment.at_ms), today.day)


def _owe_late(tx: Tx, late: Sequence[Payment], rows: dict[str, Row]) -> None:
    """Paid after the job had ended: still the payer's money."""
    units: list[list[Entry]] = []
    for payment in late:
        job = payment.invoice.subject
        units.append([payment.credit, MoveAll(f"job/{job}/late/{payment.invoice.id}", chart.job(job), chart.owed(job), Code.OWED_BACK)])
    commit_all(tx, late[0].at_ms, units)
    again = [payment.invoice.subject for payment in late if rows[payment.invoice.subject]["refund_to"]]
    tasks.add(tx, [NewTask(machine.REFUND_TO, job, late[0].at_ms) for job in again])
    events.append(tx, late[0].at_ms, [NewEvent(payment.invoice.subject, "refund", {"state": "pending"}) for payment in late])


def payout_ended(tx: Tx, payout: Payout, at_ms: int) -> None:
    """A job's refund arrived or came back. Where the customer gave an address, what is owed (again, or still) goes there without being
    asked for: after a failure a while later, with a new invoice of theirs."""
    if payout.destination != REFUND_ADDRESS or not payouts.obligation(tx, payout.obligation).claimable:
        return
    row = store.find_all(tx, [payout.subject])[0]
    if row is not None and row["refund_to"]:
        tasks.add(tx, [NewTask(machine.REFUND_TO, row["id"], at_ms + again.pause_ms(tx, payout.obligation))])


def lapsed(tx: Tx, invoice: Invoice, at_ms: int, *, rules: Rules) -> None:
    """Called in the transaction that closes an invoice of a job as unpaid."""
    outcome = advance_all(tx, [Step(invoice.subject, Unpaid(), at_ms)], rules)[0]
    if outcome is not None:
        log.info("jobs.lapse_without_effect", job=invoice.subject, why=outcome.message)


def on_paid(rules: Rules) -> dict[str, Crediting]:
    """Purpose → who is told that a job's invoice was paid."""
    return {
        EVAL: Crediting(partial(paid_all, kind=EvalPaid, awaited=State.AWAITING_EVAL_PAYMENT, rules=rules)),
        WORK: Crediting(partial(paid_all, kind=WorkPaid, awaited=State.AWAITING_WORK_PAYMENT, rules=rules)),
    }


def on_lapsed(rules: Rules) -> dict[str, Callable[[Tx, Invoice, int], None]]:
    """Purpose → who is told that a job's invoice expired unpaid."""
    return {EVAL: partial(lapsed, rules=rules), WORK: partial(lapsed, rules=rules)}


def gift_of(job_id: str, pubkey: str, tier: str, day: str) -> Gift:
    """One gift per job: its name makes it once."""
    return Gift(f"job/{job_id}/gift", job_id, pubkey, tier, day)


def job_of(row: Row) -> Job:
    charge = None if row["charge_msat"] is None else Msats(row["charge_msat"])
    gift = gift_of(row["id"], row["pubkey"], row["gift_tier"], row["gift_day"]) if row["gift_day"] else None
    return Job(
        row["id"],
        State(row["state"]),
        Msats(row["eval_fee_msat"]),
        charge,
        bool(row["refund_to"]),
        gift,
        Msats(row["gift_reserved_msat"]),
    )


def _new_row(opening: Opening) -> Row:
    return {
        "id": opening.job_id,
        "state": State.AWAITING_EVAL_PAYMENT.value,
        "request": opening.request,
        "refund_to": opening.refund_to,
        "pubkey": opening.pubkey,
        "eval_fee_msat": opening.eval_fee.value,
        "eval_invoice": opening.invoice_id,
        "at_ms": opening.at_ms,
    }


_COLUMNS: dict[str, tuple[str, Callable[[Any], Any]]] = {  # what a decision learns → the column, and how it is kept
    "quote": ("quote", Quote.as_json),
    "charge": ("charge_msat", lambda charge: _whole(charge, Msats)),
    "gift_offered": ("gift_offered_msat", lambda offered: _whole(offered, Msats)),
    "gift_reserved": ("gift_reserved_msat", lambda reserved: _whole(reserved, Msats)),
    "absorbed": ("absorbed_msat", lambda absorbed: _whole(absorbed, Msats)),
    "work_invoice": ("work_invoice", str),
    "reason": ("reason", str),
    "result": ("result", str),
    "truncated": ("truncated", int),
    "charged": ("charged_msat", lambda charged: _whole(charged, Msats)),
    "cost": ("cost_nano_usd", lambda cost: _whole(cost, NanoUsd)),
    "usage": ("usage", lambda usage: json.dumps(asdict(usage))),
}


_KEPT = (*(column for column, _ in _COLUMNS.values()), "gift_tier", "gift_day")


def _moved(row: Row, state: State, decision: machine.Decision, at_ms: int) -> Row:
    moved: dict[str, Any] = {column: row[column] for column in _KEPT}
    for name, value in decision.learned.items():
        if name == "gift":
            moved["gift_tier"], moved["gift_day"] = (value.tier, value.day) if value else (None, None)
            continue
        column, keep = _COLUMNS[name]
        moved[column] = keep(value)
    return {
        **moved,
        "id": row["id"],
        "from_state": row["state"],
        "state": state.value,
        "moved_at_ms": at_ms if state.value != row["state"] else row["moved_at_ms"],
        "completed_at_ms": at_ms if state.is_final else None,
    }


def _whole(amount: Msats | NanoUsd, kind: type[Msats] | type[NanoUsd]) -> int:
    assert isinstance(amount, kind), amount
    return amount.value


def usage_of(text: str) -> Usage:
    return Usage(**json.loads(text))


def _news(job_id: str, state: State) -> NewEvent:
    return NewEvent(job_id, "state", {"state": state.value})
