"""The rows about money: whether what is owed can leave, what is sold can come in, and the wallet holds what the books say."""

from __future__ import annotations

from timmy.clock import SECOND_MS
from timmy.ledger import chart
from timmy.lightning.diagnosis.node import more_hint
from timmy.lightning.diagnosis.rows import Books, Row, Situation, Word, ago, told
from timmy.lightning.reconcile import Comparison
from timmy.money import Msats, Sats

FEES_DAYS = 30
FEES_DEAR_BP, WHOLE_BP = 300, 10_000
FEES_MATTER = Sats(20).msats  # less than this in a month is not worth a word
SILENT_MS = 60 * SECOND_MS  # how long after a payment was credited its push may still be awaited
LATE_FAIL_MS = 24 * 3_600 * SECOND_MS
AUDIT_OLD_MS = 15 * 60 * SECOND_MS
NAMED_MAX = 3
# What customers may ask back, besides what is owed to them already.
MAY_BE_OWED = ("session", "job", "bootstrap", chart.UNALLOCATED)
TO_PUT_IN = {
    "lnbits": "pay an invoice of this LNbits wallet from elsewhere",
    "electrum": "open a channel with coins of your own: electrum open_channel NODE_ID AMOUNT_BTC",
    "lnd": "open a channel with coins of your own: lncli openchannel NODE_ID AMOUNT_SATS",
    "nwc": "fill the wallet up, or raise this connection's budget in its app",
}


def liquidity_out(here: Situation) -> Row:
    asked, books = here.asked, here.books
    facts = asked.facts
    can = facts.spendable if facts is not None and facts.spendable is not None else asked.balance
    if can is None or books is None:
        return Row("liquidity_out", Word.UNKNOWN, "the wallet did not answer" if can is None else "the books did not answer")
    now = books.of("owed") + books.standing.leaving
    later = now + books.of(*MAY_BE_OWED)
    value = f"{told(can)} sats can leave; {told(now)} owed now, {told(later)} at most"
    way = TO_PUT_IN.get(asked.kind, "put more into the wallet")
    if can.value < now.value:
        hint = f"Refunds wait. Put in at least {told(Msats(now.value - can.value))} sats: {way}."
        return Row("liquidity_out", Word.FAIL, value, hint)
    if can.value < later.value:
        hint = f"If all customers left today, {told(Msats(later.value - can.value))} sats would be missing. Put them in: {way}."
        return Row("liquidity_out", Word.WARN, value, hint)
    return Row("liquidity_out", Word.OK, value)


def liquidity_in(here: Situation) -> Row:
    facts, wants = here.asked.facts, here.wants
    can = facts.receivable if facts is not None else None
    if can is None:
        return Row("liquidity_in", Word.UNKNOWN, "not told", more_hint(here.asked.kind))
    setting, most = max(wants.largest.items(), key=lambda item: item[1].value)
    value = f"{told(can)} sats can come in; the largest invoice is {most.value:,} ({setting})"
    more = "let others open a channel to you (an LSP sells them), or send out over Lightning what you do not need"
    if can.value < wants.smallest.msats.value:
        return Row("liquidity_in", Word.FAIL, value, f"Nobody can pay you. To be paid, {more}.")
    if can.value < most.msats.value:
        missing = Msats(most.msats.value - can.value)
        hint = f"{told(missing)} sats of room are missing: {more}; or set {setting} to at most {can.floor_sats().value}."
        return Row("liquidity_in", Word.WARN, value, hint)
    return Row("liquidity_in", Word.OK, value)


def fees(here: Situation) -> Row:
    books, wants = here.books, here.wants
    if books is None:
        return Row("fees", Word.UNKNOWN, "the books did not answer")
    value = f"{told(books.fees)} sats for {told(books.paid_out)} sats paid out in {FEES_DAYS} days"
    if here.asked.caps_fees is False and wants.dearest_refund.value > wants.uncapped_max.value:
        hint = (
            f"This wallet cannot limit routing fees, so refunds above {wants.uncapped_max.value:,} sats wait for timmy refunds pay, and "
            f"one may be {wants.dearest_refund.value:,}. Raise PAYOUT_MAX_SATS_UNCAPPED, or lower SESSION_MAX_SATS."
        )
        return Row("fees", Word.WARN, value, hint)
    if books.fees.value > FEES_MATTER.value and books.fees.value * WHOLE_BP > books.paid_out.value * FEES_DEAR_BP:
        return Row("fees", Word.WARN, value, "That is dear. Open a channel to a better connected node, or lower PAYOUT_FEE_LIMIT_PCT.")
    return Row("fees", Word.OK, value)


def balance(here: Situation) -> Row:
    books, holds = here.books, here.asked.balance
    if books is None or holds is None:
        return Row("balance", Word.UNKNOWN, "the wallet did not answer" if holds is None else "the books did not answer")
    value = f"wallet {told(holds)} sats, books {told(books.standing.holds)}: {_whose(books)}"
    if not books.still:
        return Row("balance", Word.UNKNOWN, f"{value}; money moved during the look", "Look again in a moment.")
    compared = Comparison(books.standing, holds)
    if compared.missing:
        hint = (
            'Customers\' sats come first: run timmy reconcile. If you took them out: timmy reconcile --accept "why"; timmy refunds resume.'
        )
        return Row("balance", Word.FAIL, f"{told(compared.missing)} sats are missing: {value}", hint)
    if compared.surplus and books.standing.opened:
        hint = 'If you put them in: timmy reconcile --accept "why".'
        return Row("balance", Word.OK, f"{value}; {told(compared.surplus)} more than they say", hint)
    return Row("balance", Word.OK, value)


def _whose(books: Books) -> str:
    kinds = (("owed", "owed"), ("in_flight", "on the way"), ("session", "in sessions"), ("job", "in jobs"), ("bootstrap", "for nodes"))
    parts = [f"{told(books.of(kind))} {words}" for kind, words in (*kinds, (chart.POOL, "in the pool"), (chart.REVENUE, "earned"))]
    return ", ".join(parts)


def push(here: Situation) -> Row:
    line, facts = here.push, here.asked.facts
    if line is None:
        return Row("push", Word.UNKNOWN, "the server hears it, and this is not the server", "See /api/admin/node-status/html.")
    sweep = "Payments are found all the same, some seconds later, by looking."
    if line.trouble is not None or (facts is not None and facts.listening is False):
        way = "answers without an end" if here.asked.kind == "lnd" else "WebSockets (Upgrade)"
        hint = f"{sweep} See that whatever stands before the wallet lets {way} through, and its log."
        return Row("push", Word.WARN, line.trouble or "the line is down", hint)
    heard_ms = line.heard_at_ms if line.heard_at_ms is not None else line.since_ms
    settled_ms = here.books.settled_at_ms if here.books is not None else None
    if settled_ms is not None and settled_ms > heard_ms and settled_ms >= line.since_ms and here.at_ms - settled_ms > SILENT_MS:
        hint = f"{sweep} Start this server anew; if it stays silent, start the wallet anew."
        return Row("push", Word.WARN, f"silent: a payment {ago(settled_ms, here.at_ms)} ago was not told", hint)
    if line.heard_at_ms is None:
        return Row("push", Word.UNKNOWN, f"nothing to be heard since the start, {ago(line.since_ms, here.at_ms)} ago")
    return Row("push", Word.OK, f"last heard {ago(line.heard_at_ms, here.at_ms)} ago")


def payouts(here: Situation) -> Row:
    books = here.books
    if books is None:
        return Row("payouts", Word.UNKNOWN, "the books did not answer")
    if books.stopped is not None:
        hint = "Nothing is refunded. Mend the cause, then: timmy refunds resume (or let them go on at /admin)."
        return Row("payouts", Word.FAIL, f"stopped: {books.stopped}", hint)
    if not here.wants.payouts_enabled:
        return Row(
            "payouts", Word.WARN, "off: PAYOUTS_ENABLED is 0", "What is owed stays owed. Set PAYOUTS_ENABLED=1 and restart to refund."
        )
    if books.late:
        since_ms = books.late_since_ms if books.late_since_ms is not None else here.at_ms
        word = Word.FAIL if here.at_ms - since_ms >= LATE_FAIL_MS else Word.WARN
        value = f"{books.late} do not get on, {told(books.late_sum)} sats, the oldest since {ago(since_ms, here.at_ms)}"
        return Row("payouts", word, value, "timmy refunds list says what each waits for. None is paid twice; none is given up by itself.")
    return Row("payouts", Word.OK, "none waits")


def tasks(here: Situation) -> Row:
    books = here.books
    if books is None:
        return Row("tasks", Word.UNKNOWN, "the books did not answer")
    if not books.parked:
        return Row("tasks", Word.OK, "none is laid aside")
    shown = [*books.parked_money, *(one for one in books.parked if one not in books.parked_money)]
    named = ", ".join(shown[:NAMED_MAX]) + (f" and {len(shown) - NAMED_MAX} more" if len(shown) > NAMED_MAX else "")
    word = Word.FAIL if books.parked_money else Word.WARN
    return Row("tasks", word, f"{len(shown)} laid aside: {named}", f"timmy tasks says why. Mend that, then: timmy tasks retry {shown[0]}.")


def audit(here: Situation) -> Row:
    if here.books_busy:
        return Row("books", Word.UNKNOWN, "they are being read through right now", "Look again in a minute.", here.books_latency_ms)
    if here.books is None:
        hint = "See that DATABASE_URL leads to a database that runs, and that its disk is not full: df -h."
        return Row("books", Word.FAIL, here.books_trouble or "the database did not answer", hint, here.books_latency_ms)
    if here.audit is None:
        return Row("books", Word.UNKNOWN, "not read through yet", "A server does so in its first minute; or: timmy ledger verify.")
    if here.audit.broken:
        hint = "Run timmy ledger verify. Payouts are stopped until you have looked."
        return Row("books", Word.FAIL, f"they do not close: {'; '.join(here.audit.broken[:NAMED_MAX])}", hint, here.books_latency_ms)
    since = ago(here.audit.at_ms, here.at_ms)
    if here.at_ms - here.audit.at_ms > AUDIT_OLD_MS:
        return Row(
            "books", Word.WARN, f"last read through {since} ago", "The watch over them has stopped: see this server's log, restart it."
        )
    return Row("books", Word.OK, f"they close, as of {since} ago", None, here.books_latency_ms)
