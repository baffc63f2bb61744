"""No secret comes out of the logs or the metrics, whoever put it in and wherever."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from timmy import logs
from timmy.metrics import Metrics

CANARY = "canary-Secret-4711-xyz"
HEX = "3f" * 32
NSEC = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"
BOLT11 = "lnbc2500u1" + "pvjluezpp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4js" * 3
MACAROON = "AgEDbG5kAvgBAwoQ" + "q7Zb" * 30
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\nAAAAB3NzaC1yc2EAAAADAQAB\n-----END OPENSSH PRIVATE KEY-----"


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """What configure() changes is changed back."""
    root, level, capturing = logging.getLogger(), logging.getLogger().level, warnings.showwarning
    handlers, config = list(root.handlers), structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)
    logging.captureWarnings(False)
    warnings.showwarning = capturing
    logging.getLogger("uvicorn.access").disabled = False


def configured(style: str = "json", level: str = "debug") -> io.StringIO:
    out = io.StringIO()
    logs.configure(level=level, style=style, secrets=[CANARY, "", "abc"], stream=out)
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if type(handler).__module__ == "timmy.logs"]  # pytest's own raise
    return out


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_has_its_event_its_fields_and_the_requests_id() -> None:
    out = configured()
    log = structlog.get_logger("timmy.jobs")
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        log.info("job_moved", job="job_4k", state="complete", input_tokens=12)
    log.info("elsewhere")
    first, second = lines(out)
    assert first | {"timestamp": ""} == {
        "event": "job_moved",
        "job": "job_4k",
        "state": "complete",
        "input_tokens": 12,
        "request_id": "req_1",
        "level": "info",
        "logger": "timmy.jobs",
        "timestamp": "",
    }
    assert str(first["timestamp"]).endswith("Z")
    assert "request_id" not in second


def test_what_is_below_the_level_is_not_written() -> None:
    out = configured(level="warning")
    structlog.get_logger("a").info("quiet")
    logging.getLogger("b").info("quiet")
    structlog.get_logger("a").warning("loud")
    assert [line["event"] for line in lines(out)] == ["loud"]


def test_to_configure_again_does_not_write_twice() -> None:
    configured()
    out = configured()
    logging.getLogger("lib").warning("once")
    assert len(lines(out)) == 1


SECRET_FIELDS = [
    "macaroon",
    "invoice_macaroon",
    "LND_MACAROON",
    "preimage",
    "secret",
    "token_secret",
    "token",
    "access_token",
    "nostr_token",
    "password",
    "passphrase",
    "api_key",
    "apikey",
    "OPENAI_API_KEY",
    "x-api-key",
    "admin_key",
    "private_key",
    "sshPrivateKey",
    "nsec",
    "mnemonic",
    "seed",
    "Authorization",
    "Cookie",
    "idempotency_key",
    "body",
    "prompt",
    "request",
]


@pytest.mark.fault("G01", "G02")
@pytest.mark.parametrize("name", SECRET_FIELDS)
@pytest.mark.parametrize("style", ["json", "console"])
def test_a_field_with_the_name_of_a_secret_is_hidden_however_deep_it_lies(name: str, style: str) -> None:
    out = configured(style)
    structlog.get_logger("a").info("x", **{name: "word"}, outer={"list": [{name: "word"}, ({name: b"word"},)]})
    assert "word" not in out.getvalue().replace("password", "")
    assert out.getvalue().count("•••") == 3


def test_what_only_sounds_like_a_secret_is_shown() -> None:
    out = configured()
    shown = {
        "input_tokens": "12",
        "payment_hash_known": True,
        "request_id": "r1",
        "token_count": "3",
        "key": "k",
        "monkey": "m",
        "state": "s",
    }
    structlog.get_logger("a").info("x", **shown)
    (line,) = lines(out)
    assert {name: line[name] for name in shown} == shown


LEAKS = {
    "one of our own": CANARY,
    "bearer": f"Authorization: Bearer {CANARY[:-1]}q",
    "l402": f"L402 {MACAROON}:{HEX}",
    "basic": "Basic dXNlcjpwYXNzd29yZA==",
    "nostr": "Nostr eyJraW5kIjoyNzIzNX0=",
    "nsec": NSEC,
    "openai": "sk-proj-Zk3jX9aQ_w-7Ru2Bt5",
    "anthropic": "sk-ant-api03-Zk3jX9aQ_w-7Ru2Bt5",
    "macaroon": MACAROON,
    "macaroon in hex": "0201036c6e6402f801030a10" + "ab" * 60,
    "preimage": HEX,
    "pem": PEM,
    "url": "http://user:hunter2hunter@127.0.0.1:7777/x",
    "nwc": f"nostr+walletconnect://{'ab' * 32}?relay=wss://r.example&secret={HEX}",
    "query": "/api/x?token=hunter2hunter&a=1",
    "json": '{"macaroon": "hunter2hunter", "preimage":"hunter2hunter"}',
    "json in json": '{\\"macaroon\\": \\"hunter2hunter\\"}',
    "repr": "{'api_key': 'hunter2hunter'}",
    "env": "LNBITS_API_KEY=hunter2hunter",
    "header": "X-Api-Key: hunter2hunter",
    "refund": BOLT11,
    "lnurl": "LNURL1DP68GURN8GHJ7UM9WFMXJCM99E3K7MF0V9CXJ0M385EKVCENXC6R2C35XVUKXEFCV5MKVV34X5EKZD3EV56NYD3",
}
NEEDLES = [
    "hunter2",
    "canary",
    NSEC[8:40],
    "Zk3jX9aQ",
    "q7Zbq7Zb",
    HEX[:16],
    "abababababab",
    "b3BlbnNz",
    BOLT11[40:80],
    "7UM9WFMXJ",
    "dXNlcjpw",
    "eyJraW5k",
]


@pytest.mark.fault("G01")
@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS.keys())
@pytest.mark.parametrize("style", ["json", "console"])
def test_what_looks_like_a_secret_does_not_come_out(leak: str, style: str) -> None:
    out = configured(style)
    log, library = structlog.get_logger("a"), logging.getLogger("lib")
    log.info(f"event {leak}", field=leak, deep={"list": [leak, leak.encode()]}, thing=ValueError(leak), **{leak: 1})
    log.warning("with %s", leak)
    library.warning("a library says %s", leak)
    for logger in (log, library):
        try:
            try:
                raise KeyError(leak)
            except KeyError as error:
                raise ValueError(f"because of {leak}") from error
        except ValueError:
            logger.exception("broke")
    warnings.warn(f"a warning with {leak}", stacklevel=1)
    written = out.getvalue()
    assert len(written.splitlines()) >= 6
    assert [needle for needle in NEEDLES if needle in written] == []


@pytest.mark.fault("G02")
@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_does_not_show_the_variables_of_its_frames(style: str) -> None:
    out = configured(style)

    def work(text: str) -> None:
        raise RuntimeError("no reason given")

    diary = "my private diary"
    try:
        work(diary)
    except RuntimeError:
        structlog.get_logger("a").exception("request_broke", request=diary, body=diary.encode())
    assert "no reason given" in out.getvalue()
    assert diary not in out.getvalue()


def test_hashes_are_shortened_and_can_still_be_told_apart() -> None:
    out = configured()
    structlog.get_logger("a").info("settled", payment_hash="0123456789abcdef" * 4)
    assert lines(out)[0]["payment_hash"] == "01234567…"


def test_a_line_cannot_be_forged_from_inside_another() -> None:
    for style in ("json", "console"):
        out = configured(style)
        structlog.get_logger("a").info("x\n2026-01-01 [critical] forged\x1b[2J", who="y\nforged\x1b[2J")
        assert len(out.getvalue().splitlines()) == 1
        assert "\x1b[2J" not in out.getvalue()


def test_a_line_that_cannot_be_written_does_not_spill_its_arguments() -> None:
    out = configured()
    logging.getLogger("lib").warning("%d", CANARY)
    assert out.getvalue() == "a log line of lib could not be written (TypeError)\n"


@pytest.mark.parametrize("text", ["secret", "token ", "a", "://", "Bearer ", "lnbc1", "-----BEGIN ", "ab", "nsec1q", "=", "AgE-"])
def test_a_text_made_to_be_slow_is_written_all_the_same(text: str) -> None:
    """With one repetition too free in the patterns, this would not end today."""
    out = configured()
    structlog.get_logger("a").info("x", long=text * 20_000)
    assert len(out.getvalue()) < 20_000


def test_plain_words_are_left_alone() -> None:
    out = configured()
    said = "payment received; Basic things: nostr identities, tokens: 12, bearer instruments, the secret of keys"
    structlog.get_logger("a").info(said)
    assert lines(out)[0]["event"] == said


def test_very_long_texts_are_cut_and_deep_ones_flattened() -> None:
    out = configured()
    deep: object = "end"
    for _ in range(50):
        deep = {"in": deep}
    structlog.get_logger("a").info("x", long="y" * 100_000, deep=deep)
    assert len(out.getvalue()) < 10_000


@pytest.mark.fault("G01")
def test_the_access_log_of_uvicorn_is_off_and_its_errors_come_here() -> None:
    out = configured()
    logging.getLogger("uvicorn.access").info("GET /api/jobs/job_secret")
    logging.getLogger("uvicorn.error").error("port in use")
    assert [line["event"] for line in lines(out)] == ["port in use"]


# Metrics ---------------------------------------------------------------------------------------------------


def count_everything(metrics: Metrics) -> None:
    metrics.http_request(method="GET", route="/api/jobs/{jobId}", status=200, seconds=0.01)
    metrics.http_request(method="BREW'\n", route="unmatched", status=405, seconds=0.01)
    metrics.job_moved("complete")
    metrics.invoice_settled("work", 27_000)
    metrics.payment_unmatched()
    metrics.payout("sent")
    metrics.paid_out(amount_msat=3_000, fee_msat=1)
    metrics.balance("owed", 3_000)
    metrics.payouts_stopped(True)
    metrics.breach()
    metrics.task("execute", "parked")
    metrics.tasks(parked=1, waiting=2)
    metrics.model_call("timmy-demo", input_tokens=10, output_tokens=20, seconds=0.5)
    metrics.part("wallet", up=False)
    metrics.price_source_silent("kraken")
    metrics.btc_price(64_000_00)
    metrics.db_group("sqlite", 12)


def test_what_is_counted_can_be_read_by_prometheus() -> None:
    metrics = Metrics()
    count_everything(metrics)
    text, content_type = metrics.exposition()
    assert content_type.startswith("text/plain; version=0.0.4")
    for line in (
        'timmy_http_requests_total{method="GET",route="/api/jobs/{jobId}",status="200"} 1.0',
        'timmy_http_requests_total{method="OTHER",route="unmatched",status="405"} 1.0',
        'timmy_received_msat_total{purpose="work"} 27000.0',
        'timmy_balance_msat{account="owed"} 3000.0',
        'timmy_up{part="wallet"} 0.0',
        'timmy_outages_total{part="wallet"} 1.0',
        'timmy_db_group_size_bucket{engine="sqlite",le="16.0"} 1.0',
        "timmy_payouts_stopped 1.0",
        "timmy_breaches_total 1.0",
    ):
        assert line in text.decode()


def test_every_method_counts_something_and_two_houses_do_not_share_a_count() -> None:
    one, other = Metrics(), Metrics()
    count_everything(one)
    ours, theirs = ([line for line in it.exposition()[0].decode().splitlines() if "_created" not in line] for it in (one, other))
    described = {line.split()[2] for line in ours if line.startswith("# HELP timmy_")}
    assert len(described) >= 20
    assert all(any(line.startswith(name) for line in ours) for name in described)
    assert not any(float(line.rsplit(" ", 1)[1]) for line in theirs if line.startswith("timmy_"))
