"""Every setting, once: its name, what it may be, what it is when nobody says, and what it does.

`timmy config` and docs/reference/settings.md are made from this table. A new setting is one entry here
or in server.py and nodes.py, with which the table begins, and nothing else.
"""

# ruff: noqa: RUF009 - setting() is dataclasses.field() with the spec in it

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from timmy.money import NanoUsd, Sats
from timmy.settings import checks, files, kinds, sources
from timmy.settings.kinds import Secret, TokenPrices
from timmy.settings.nodes import NodeSettings
from timmy.settings.spec import SettingRow, Spec, parse, row, setting

PRICE_SOURCES = ("bitfinex", "bitstamp", "blockchain", "coinbase", "coingecko", "gemini", "kraken", "mempool")
PRICE_SOURCES_ASKED = ("bitstamp", "coinbase", "coingecko", "gemini", "kraken")
BTC_USD_MIN, BTC_USD_MAX = 1_000, 10_000_000
DAY_SECONDS = 86_400

# The small model judges, the better one works.
EVAL_MODELS = {"builtin": "timmy-demo-small", "anthropic": "claude-haiku-4-5", "openai": "gpt-5.4-mini"}
WORK_MODELS = {"builtin": "timmy-demo", "anthropic": "claude-sonnet-4-6", "openai": "gpt-5.4"}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Settings(NodeSettings):
    """What this house was told. Never changes while it runs; `Settings.load()` at start is the only reader of the environment."""

    # The wallet
    wallet: str = setting(
        "Wallet", "WALLET", kinds.one_of("builtin", "lnbits", "electrum", "lnd", "nwc"), "builtin", "Where sats come in and go out."
    )
    lnbits_url: str | None = setting("Wallet", "LNBITS_URL", kinds.url(), None, "The LNbits server, for WALLET=lnbits.")
    lnbits_api_key: Secret | None = setting(
        "Wallet", "LNBITS_API_KEY", kinds.secret(), None, "Admin key of the LNbits wallet (it pays refunds)."
    )
    electrum_url: Secret | None = setting(
        "Wallet",
        "ELECTRUM_URL",
        kinds.url_with_password(),
        None,
        "Electrum's JSON-RPC with its rpcuser and rpcpassword, for WALLET=electrum.",
    )
    lnd_url: str = setting("Wallet", "LND_URL", kinds.url(), "https://127.0.0.1:8080", "LND's REST interface, for WALLET=lnd.")
    lnd_macaroon: Secret | None = setting(
        "Wallet", "LND_MACAROON", files.macaroon(), None, "What opens LND to Timmy: the macaroon's file, or its hex, for WALLET=lnd."
    )
    lnd_cert: Path | None = setting(
        "Wallet", "LND_CERT", files.certificate(), None, "LND's tls.cert; only this is trusted. None: whom this machine trusts."
    )
    nwc_uri: Secret | None = setting(
        "Wallet", "NWC_URI", kinds.wallet_over_nostr(), None, "A wallet's Nostr Wallet Connect address, for WALLET=nwc."
    )
    invoice_ttl_seconds: int = setting(
        "Wallet",
        "INVOICE_TTL_SECONDS",
        kinds.whole(60, 7 * DAY_SECONDS),
        600,
        "How long an invoice, and the price in it, holds. A later payment is owed back.",
    )

    # Paying out
    payouts_enabled: bool = setting("Payouts", "PAYOUTS_ENABLED", kinds.switch(), True, "0 stops all refunds; what is owed stays owed.")
    payouts_max_per_hour: Sats = setting(
        "Payouts", "PAYOUTS_MAX_SATS_PER_HOUR", kinds.sats(), Sats(100_000), "Breaker: the most that leaves in an hour; the rest waits."
    )
    payouts_max_per_day: Sats = setting(
        "Payouts", "PAYOUTS_MAX_SATS_PER_DAY", kinds.sats(), Sats(500_000), "Breaker: the most that leaves in 24 hours; the rest waits."
    )
    payout_fee_limit_bp: int = setting(
        "Payouts", "PAYOUT_FEE_LIMIT_PCT", kinds.percent(100), 100, "Highest routing fee of a payout, as a percentage of it."
    )
    payout_fee_limit_min: Sats = setting(
        "Payouts",
        "PAYOUT_FEE_LIMIT_MIN_SATS",
        kinds.sats(),
        Sats(5),
        "A routing fee up to this many sats is allowed whatever the percentage says.",
    )
    payout_max_uncapped: Sats = setting(
        "Payouts", "PAYOUT_MAX_SATS_UNCAPPED", kinds.sats(), Sats(1_000), "Largest payout by a wallet that cannot enforce a fee limit."
    )
    lnurl_allow_loopback: bool = setting(
        "Payouts", "LNURL_ALLOW_LOOPBACK", kinds.switch(), False, "Development only: Lightning addresses on this machine, over plain http."
    )

    # The models
    provider: str = setting(
        "Models", "PROVIDER", kinds.one_of("builtin", "anthropic", "openai"), "builtin", "Who runs the language models."
    )
    anthropic_api_key: Secret | None = setting("Models", "ANTHROPIC_API_KEY", kinds.secret(), None, "For PROVIDER=anthropic.")
    anthropic_base_url: str = setting("Models", "ANTHROPIC_BASE_URL", kinds.url(), "https://api.anthropic.com", "For a proxy of your own.")
    openai_api_key: Secret | None = setting(
        "Models", "OPENAI_API_KEY", kinds.secret(), None, "For PROVIDER=openai. A model server of your own may need none."
    )
    openai_base_url: str = setting(
        "Models",
        "OPENAI_BASE_URL",
        kinds.url(),
        "https://api.openai.com/v1",
        "Any OpenAI-compatible endpoint: Ollama, vLLM, llama.cpp, LiteLLM, OpenRouter, …",
    )
    eval_model: str = setting(
        "Models",
        "EVAL_MODEL",
        kinds.model(),
        "",
        "The small, cheap model that judges requests.",
        default_shown=", ".join(f"{model} ({provider})" for provider, model in EVAL_MODELS.items()),
    )
    work_model: str = setting(
        "Models",
        "WORK_MODEL",
        kinds.model(),
        "",
        "The model that does the work.",
        default_shown=", ".join(f"{model} ({provider})" for provider, model in WORK_MODELS.items()),
    )
    v1_models: tuple[str, ...] = setting(
        "Models",
        "V1_MODELS",
        kinds.models(),
        (),
        "The models that are sold by name under /v1, to programs that speak OpenAI's API.",
        default_shown="WORK_MODEL,EVAL_MODEL",
    )
    work_max_output_tokens: int = setting(
        "Models", "WORK_MAX_OUTPUT_TOKENS", kinds.whole(16, 1_000_000), 4_096, "The longest answer, whatever was paid."
    )
    model_timeout_seconds: int = setting(
        "Models", "MODEL_TIMEOUT_SECONDS", kinds.whole(1, 3600), 120, "How long one call of a model may take."
    )
    job_model_patience_seconds: int = setting(
        "Models",
        "JOB_MODEL_PATIENCE_SECONDS",
        kinds.whole(0, 7 * DAY_SECONDS),
        900,
        "How long a paid job waits for a model that is down before it fails and everything is owed back.",
    )

    # Prices
    eval_fee: Sats = setting("Prices", "EVAL_FEE_SATS", kinds.sats(1), Sats(10), "What it costs to have a request judged.")
    margin_bp: int = setting("Prices", "MARGIN_PCT", kinds.percent(), 4_000, "The operator's margin on the cost, in percent. Applied once.")
    infra_usd_per_month: NanoUsd = setting(
        "Prices", "INFRA_USD_PER_MONTH", kinds.usd(), NanoUsd.parse("10"), "What the machine costs, shared by the requests of a month."
    )
    infra_requests_per_month: int = setting(
        "Prices", "INFRA_REQUESTS_PER_MONTH", kinds.whole(1, 10**12), 10_000, "How many requests share that."
    )
    model_rates: Mapping[str, TokenPrices] = setting(
        "Prices",
        "MODEL_RATES",
        kinds.rates(),
        cast(Mapping[str, TokenPrices], None),
        "Prices of models that Timmy does not know, or that have changed.",
        default_shown="none",
    )
    btc_price_fallback_cents: int = setting(
        "Prices",
        "BTC_PRICE_USD_FALLBACK",
        kinds.usd_per_btc(BTC_USD_MIN, BTC_USD_MAX),
        100_000_00,
        "The price of a bitcoin when no source answers.",
    )
    btc_price_sources: tuple[str, ...] = setting(
        "Prices",
        "BTC_PRICE_SOURCES",
        kinds.listed(*PRICE_SOURCES),
        PRICE_SOURCES_ASKED,
        "Who is asked for the price of a bitcoin; the median counts. Empty or `none`: the fallback alone.",
        empty_counts=True,
    )
    btc_price_max_age_seconds: int = setting(
        "Prices",
        "BTC_PRICE_MAX_AGE",
        kinds.whole(60, 7 * DAY_SECONDS),
        3_600,
        "For how many seconds the last good price serves when no source answers.",
    )
    pool_credit_bp: int = setting(
        "Prices", "POOL_CREDIT_PCT", kinds.percent(100), 1_000, "The part of every paid work charge that goes to the generosity pool."
    )
    pool_seed: Sats = setting(
        "Prices", "POOL_SEED_SATS", kinds.sats(), Sats(10_000), "What the operator puts into the pool at first start."
    )
    free_budget_new: Sats = setting("Pool", "FREE_BUDGET_NEW", kinds.sats(), Sats(0), "Free work per day for a new key.")
    free_budget_established: Sats = setting("Pool", "FREE_BUDGET_ESTABLISHED", kinds.sats(), Sats(50), "The same, for tier `established`.")
    free_budget_trusted: Sats = setting("Pool", "FREE_BUDGET_TRUSTED", kinds.sats(), Sats(200), "The same, for tier `trusted`.")
    free_budget_elite: Sats = setting("Pool", "FREE_BUDGET_ELITE", kinds.sats(), Sats(1_000), "The same, for tier `elite`.")

    # Trust
    trust_established: int = setting("Trust", "TRUST_ESTABLISHED", kinds.whole(1, 10**9), 10, "The score at which a key is `established`.")
    trust_trusted: int = setting("Trust", "TRUST_TRUSTED", kinds.whole(1, 10**9), 50, "The score at which it is `trusted`.")
    trust_elite: int = setting("Trust", "TRUST_ELITE", kinds.whole(1, 10**9), 200, "The score at which it is `elite`.")
    trust_success: int = setting("Trust", "TRUST_SUCCESS", kinds.whole(0, 10**6), 2, "What a job that was paid for and done adds.")
    trust_success_at: Sats = setting(
        "Trust",
        "TRUST_SUCCESS_SATS",
        kinds.sats(),
        Sats(10),
        "What such a job must have cost the customer to count whole; less counts in part.",
    )
    trust_failure: int = setting("Trust", "TRUST_FAILURE", kinds.whole(0, 10**6), 1, "What a rejected or failed job takes.")
    trust_decay_after_days: int = setting(
        "Trust", "TRUST_DECAY_AFTER_DAYS", kinds.whole(0, 36_500), 30, "Days of absence before a score begins to fade."
    )
    trust_decay_per_day: int = setting("Trust", "TRUST_DECAY_PER_DAY", kinds.whole(0, 10**6), 1, "What each day after that takes.")

    # Sessions
    session_min: Sats = setting("Sessions", "SESSION_MIN_SATS", kinds.sats(1), Sats(100), "The smallest deposit or top-up.")
    session_max: Sats = setting("Sessions", "SESSION_MAX_SATS", kinds.sats(1), Sats(100_000), "The largest.")
    session_ttl_days: int = setting(
        "Sessions", "SESSION_TTL_DAYS", kinds.whole(1, 3_650), 30, "Days without use after which a session ends; its rest stays claimable."
    )
    session_min_balance: Sats = setting(
        "Sessions", "SESSION_MIN_BALANCE_SATS", kinds.sats(), Sats(20), "With less, a session is paused until it is topped up."
    )

    # Logs
    log_level: str = setting(
        "Logs", "LOG_LEVEL", kinds.one_of("debug", "info", "warning", "error"), "info", "The least that is worth a line."
    )
    log_format: str = setting(
        "Logs", "LOG_FORMAT", kinds.one_of("console", "json"), "console", "Lines for people, or one JSON object each."
    )

    # Where the values came from; filled by load().
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """The defaults that depend on other settings."""
        try:
            data_dir = self.data_dir.expanduser()
        except RuntimeError:
            raise sources.SettingsError("This user has no home folder: set DATA_DIR.") from None
        local = f"[{self.host}]" if ":" in self.host else self.host
        local = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(local, local)
        depends = {
            "data_dir": data_dir,
            "public_url": self.public_url or f"http://{local}:{self.port}",
            "database_url": self.database_url or f"sqlite:///{data_dir}/timmy.db",
            "bootstrap_keys_dir": self.bootstrap_keys_dir or data_dir / "bootstrap_keys",
            "eval_model": self.eval_model or EVAL_MODELS[self.provider],
            "work_model": self.work_model or WORK_MODELS[self.provider],
            "model_rates": self.model_rates or {},
            "v1_models": self.v1_models
            or tuple(dict.fromkeys((self.work_model or WORK_MODELS[self.provider], self.eval_model or EVAL_MODELS[self.provider]))),
        }
        for name, value in depends.items():
            object.__setattr__(self, name, value)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> Settings:
        """The environment over `.env` over the defaults. SettingsError names everything that is wrong, at once; secrets are never told."""
        environ = os.environ if environ is None else environ
        pairs = sources.read_dotenv(dotenv) if dotenv else {}
        known: dict[str, Spec] = {attribute: entry.metadata["spec"] for attribute, entry in entries().items()}
        empty_counts = [spec.name for spec in known.values() if spec.empty_counts]
        names = [spec.name for spec in known.values()]
        found = sources.gather(environ, pairs, dotenv, names, empty_counts)
        values, problems = parse(known, found)
        if dotenv and sources.open_to_others(dotenv):
            problems += checks.file_of_secrets(dotenv, [s.name for s in known.values() if s.kind.secret and pairs.get(s.name)])
        if problems:
            raise sources.SettingsError(*problems)
        warnings = sources.typos(pairs, str(dotenv), names) + sources.typos(environ, "the environment", names)
        settings = cls(**values, origins={name: at.source for name, at in found.items()}, warnings=tuple(warnings))
        if problems := checks.together(settings):
            raise sources.SettingsError(*problems)
        return settings

    @property
    def dev_routes(self) -> bool:
        """Whether the development routes exist."""
        return self.wallet == "builtin" if self.dev_routes_wanted is None else self.dev_routes_wanted

    @property
    def infra_per_request(self) -> NanoUsd:
        """One request's share of the machine, rounded up to a nano-dollar."""
        return NanoUsd(-(-self.infra_usd_per_month.value // self.infra_requests_per_month))

    @property
    def sqlite_path(self) -> Path | None:
        """The embedded database's file; None when another engine is used."""
        prefix = "sqlite:///"
        return Path(self.database_url.removeprefix(prefix)) if self.database_url.startswith(prefix) else None

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """A sentence for each part that is only a stand-in for a real one: told on the console and by /api/healthz."""
        return checks.stand_ins(self)

    def secrets(self) -> list[str]:
        """The very words that no log may hold. For the filter of the logs, and for nothing else."""
        values = (getattr(self, attribute) for attribute in entries())
        whole = [value.reveal() for value in values if isinstance(value, Secret)]
        return [*whole, *(found for text in (*whole, self.database_url) for found in kinds.passwords(text))]

    def rows(self) -> list[SettingRow]:
        """Every setting for `timmy config`, in the table's order."""
        return [
            row(spec, getattr(self, attribute), entry.default, self.origins.get(spec.name, "default"))
            for attribute, entry in entries().items()
            if (spec := entry.metadata["spec"])
        ]

    def __repr__(self) -> str:
        """Names and shown values: what a stray log line may hold."""
        return "Settings(" + ", ".join(f"{row.name}={row.value}" for row in self.rows()) + ")"


def entries() -> dict[str, Field[Any]]:
    """Attribute → its entry in the table, in order."""
    return {entry.name: entry for entry in fields(Settings) if "spec" in entry.metadata}
