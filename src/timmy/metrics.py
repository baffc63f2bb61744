"""What is counted, for Prometheus. One table, one registry of its own, and no label that a customer can choose.

A label's values are few and known: states, routes as templates, engines, kinds of tasks, the models of the settings. An id, a path, a
payment hash or an address as a label would be a leak, and would make a new time series each.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus text format, "Basic info"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
HTTP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
MODEL_SECONDS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80, 160)
GROUP_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Every method is cheap and cannot fail: to count something never changes what happens."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        on = self.registry
        # HTTP
        self._http = Counter("timmy_http_requests", "HTTP requests answered.", ["method", "route", "status"], registry=on)
        self._http_seconds = Histogram("timmy_http_seconds", "Time to answer.", ["route"], buckets=HTTP_SECONDS, registry=on)
        self._counted: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        # Jobs and money
        self._jobs = Counter("timmy_jobs_moved", "Jobs that came into a state.", ["state"], registry=on)
        self._settled = Counter("timmy_invoices_settled", "Invoices of ours that were paid, by what for.", ["purpose"], registry=on)
        self._received = Counter("timmy_received_msat", "Millisats that came in, by what for.", ["purpose"], registry=on)
        self._unmatched = Counter("timmy_payments_unmatched", "Payments for which there was no use: late, surplus or unknown.", registry=on)
        self._payouts = Counter(
            "timmy_payouts", "Payouts by what became of them (sent, failed, unknown, waiting, …).", ["outcome"], registry=on
        )
        self._paid_out = Counter("timmy_paid_out_msat", "Millisats that were paid out.", registry=on)
        self._fees = Counter("timmy_routing_fees_msat", "Millisats of routing fees.", registry=on)
        self._balance = Gauge(
            "timmy_balance_msat", "Millisats by kind of account (owed, in_flight, pool, revenue, …).", ["account"], registry=on
        )
        self._payouts_stopped = Gauge("timmy_payouts_stopped", "1 while payouts are stopped, by an operator or an alarm.", registry=on)
        self._breaches = Counter("timmy_breaches", "Times that the books did not agree. Anything above zero wants a person.", registry=on)
        # Work
        self._tasks = Counter("timmy_tasks", "Tasks by what became of them (done, retried, parked).", ["kind", "outcome"], registry=on)
        self._parked = Gauge("timmy_tasks_parked", "Tasks that keep failing and wait for a person.", registry=on)
        self._waiting = Gauge("timmy_tasks_waiting", "Tasks that are due and not begun.", registry=on)
        self._tokens = Counter("timmy_model_tokens", "Tokens as the provider counted them.", ["model", "direction"], registry=on)
        self._model_seconds = Histogram(
            "timmy_model_seconds", "Time of one call of a model.", ["model"], buckets=MODEL_SECONDS, registry=on
        )
        # What we depend on
        self._outages = Counter("timmy_outages", "Times that something we depend on did not answer.", ["part"], registry=on)
        self._up = Gauge("timmy_up", "1 when a part (database, wallet, provider, price) answered last.", ["part"], registry=on)
        self._price_silent = Counter(
            "timmy_price_source_silent", "Rounds in which a price source had nothing usable.", ["source"], registry=on
        )
        self._btc = Gauge("timmy_btc_price_cents", "US cents per bitcoin, as used for quotes.", registry=on)
        self._groups = Histogram(
            "timmy_db_group_size", "Writes that shared one database transaction.", ["engine"], buckets=GROUP_SIZES, registry=on
        )

    def http_request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """`route` is a template, never a path."""
        key = (method if method in METHODS else "OTHER", route, status)
        if (counted := self._counted.get(key)) is None:  # to look a label up by its words takes longer than to count
            counted = self._counted[key] = (self._http.labels(key[0], route, str(status)), self._http_seconds.labels(route))
        counted[0].inc()
        counted[1].observe(seconds)

    def job_moved(self, state: str) -> None:
        self._jobs.labels(state).inc()

    def invoice_settled(self, purpose: str, received_msat: int) -> None:
        self._settled.labels(purpose).inc()
        self._received.labels(purpose).inc(max(0, received_msat))

    def payment_unmatched(self) -> None:
        self._unmatched.inc()

    def payout(self, outcome: str) -> None:
        self._payouts.labels(outcome).inc()

    def paid_out(self, *, amount_msat: int, fee_msat: int) -> None:
        self._paid_out.inc(max(0, amount_msat))
        self._fees.inc(max(0, fee_msat))

    def balance(self, account: str, msat: int) -> None:
        """`account` is a kind (`owed`), never an account with an id in it (`owed/job_…`)."""
        self._balance.labels(account).set(msat)

    def payouts_stopped(self, stopped: bool) -> None:
        self._payouts_stopped.set(int(stopped))

    def breach(self) -> None:
        self._breaches.inc()

    def task(self, kind: str, outcome: str) -> None:
        self._tasks.labels(kind, outcome).inc()

    def tasks(self, *, parked: int, waiting: int) -> None:
        self._parked.set(parked)
        self._waiting.set(waiting)

    def model_call(self, model: str, *, input_tokens: int, output_tokens: int, seconds: float) -> None:
        """`model` is one of the settings', not a name that a customer sent."""
        self._tokens.labels(model, "input").inc(max(0, input_tokens))
        self._tokens.labels(model, "output").inc(max(0, output_tokens))
        self._model_seconds.labels(model).observe(seconds)

    def part(self, name: str, *, up: bool) -> None:
        self._up.labels(name).set(int(up))
        if not up:
            self._outages.labels(name).inc()

    def price_source_silent(self, source: str) -> None:
        self._price_silent.labels(source).inc()

    def btc_price(self, cents_per_btc: int) -> None:
        self._btc.set(cents_per_btc)

    def db_group(self, engine: str, size: int) -> None:
        self._groups.labels(engine).observe(size)

    def exposition(self) -> tuple[bytes, str]:
        """All of it as text, and the content type of that text."""
        return generate_latest(self.registry), CONTENT_TYPE
