"""The part of the table that any server has, whatever it sells: where it listens, who may ask how much of it, and where it keeps things."""

# ruff: noqa: RUF009 - setting() is dataclasses.field() with the spec in it

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from timmy.settings import kinds
from timmy.settings.kinds import Secret
from timmy.settings.spec import setting


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ServerSettings:
    # The server
    host: str = setting("Server", "HOST", kinds.host(), "127.0.0.1", "Address to listen on. Put a TLS proxy in front before opening it.")
    port: int = setting("Server", "PORT", kinds.whole(0, 65535), 8402, "Port to listen on; 0 takes a free one.")
    public_url: str = setting(
        "Server",
        "PUBLIC_URL",
        kinds.origin(),
        "",
        "Where customers reach this server; stands in links and in what the test kit prints.",
        default_shown="http://HOST:PORT",
    )
    workers: int = setting(
        "Server", "WORKERS", kinds.whole(1, 256), 8, "How many tasks that wait for a model (judging, working) one process does at once."
    )
    admin_token: Secret | None = setting(
        "Server",
        "ADMIN_TOKEN",
        kinds.secret(kinds.SECRET_BYTES_MIN),
        None,
        "Asked for by /metrics and the admin routes (`Authorization: Bearer …`). Unset: /metrics is open, admin routes are closed to all.",
    )
    token_secret: Secret | None = setting(
        "Server",
        "TIMMY_TOKEN_SECRET",
        kinds.secret(kinds.SECRET_BYTES_MIN),
        None,
        "Signs what customers are handed. Set the same on every process that shares a database.",
        default_shown="made once and kept in DATA_DIR",
    )
    trusted_proxies: tuple[str, ...] = setting(
        "Server", "TRUSTED_PROXIES", kinds.networks(), (), "Proxies whose X-Forwarded-For is believed. All others' is ignored."
    )
    cors_origins: tuple[str, ...] = setting(
        "Server", "CORS_ORIGINS", kinds.origins(), (), "Web pages of other origins that may call the API from a browser."
    )
    dev_routes_wanted: bool | None = setting(
        "Server",
        "DEV_ROUTES",
        kinds.switch(),
        None,
        "The development routes (an invoice can be paid by HTTP). With a real wallet they spend the operator's own sats.",
        default_shown="1 with the built-in wallet, else 0",
    )
    max_request_chars: int = setting("Server", "MAX_REQUEST_CHARS", kinds.whole(1, 20_000), 500, "Longest request text of a job.")
    offers_per_minute: int = setting(
        "Server",
        "OFFERS_PER_MINUTE",
        kinds.whole(0, 10**6),
        600,
        "Unpaid jobs, sessions and offers of /v1 that one address may ask for in a minute: each makes an invoice. Counted by each process "
        "for itself; 0 counts nothing.",
    )
    logins_per_minute: int = setting(
        "Server", "LOGINS_PER_MINUTE", kinds.whole(0, 10**6), 600, "The same for beginnings of a login, each of which is kept for a while."
    )
    max_body_bytes: int = setting("Server", "MAX_BODY_BYTES", kinds.whole(1024, 2**30), 65_536, "Largest HTTP body under /api.")
    max_v1_body_bytes: int = setting("Server", "MAX_V1_BODY_BYTES", kinds.whole(1024, 2**30), 4_194_304, "Largest HTTP body under /v1.")

    # Storage
    data_dir: Path = setting(
        "Storage",
        "DATA_DIR",
        kinds.folder(),
        Path("~/.local/share/timmy"),
        "Where the embedded database and made secrets are kept.",
        default_shown="~/.local/share/timmy",
    )
    database_url: str = setting(
        "Storage",
        "DATABASE_URL",
        kinds.database_url(),
        "",
        "The ledger's database: SQLite for one process, PostgreSQL for any number.",
        default_shown="sqlite:///DATA_DIR/timmy.db",
    )
    events_keep_days: int = setting(
        "Storage", "EVENTS_KEEP_DAYS", kinds.whole(1, 36_500), 30, "Days after which what was told of jobs and sessions is removed."
    )
    idempotency_keep_days: int = setting(
        "Storage",
        "IDEMPOTENCY_KEEP_DAYS",
        kinds.whole(1, 36_500),
        7,
        "Days for which an Idempotency-Key gives the same answer. Repeated later, a request is a new one.",
    )
    unpaid_keep_days: int = setting(
        "Storage",
        "UNPAID_KEEP_DAYS",
        kinds.whole(8, 36_500),
        30,
        "Days after which jobs and sessions that nobody paid for are removed. What was paid for is kept for ever.",
    )

    # The world
    chat_per_minute: int = setting(
        "World",
        "CHAT_PER_MINUTE",
        kinds.whole(0, 1_000),
        3,
        "How often in a minute Timmy answers what visitors from one address say. 0: he answers nobody.",
    )
    chat_per_day: int = setting(
        "World", "CHAT_PER_DAY", kinds.whole(0, 10**6), 2_000, "How often in 24 hours he answers visitors at all: the house pays the model."
    )
    demo_per_hour: int = setting(
        "World", "DEMO_PER_HOUR", kinds.whole(0, 1_000), 5, "Free answers of /api/demo for one address in an hour. 0: there are none."
    )
    demo_per_day: int = setting(
        "World", "DEMO_PER_DAY", kinds.whole(0, 10**6), 500, "Free answers in 24 hours for all together: the house pays the model."
    )
    viewers_max: int = setting(
        "World", "VIEWERS_MAX", kinds.whole(0, 10**6), 10_000, "Visitors that one process shows the world to at once."
    )
    viewers_per_address: int = setting(
        "World", "VIEWERS_PER_ADDRESS", kinds.whole(1, 10**6), 100, "Of these, from one address (of IPv6: from one /64)."
    )
