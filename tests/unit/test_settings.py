"""Settings: typed, exact, checked at start, and told without a secret."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from timmy.money import NanoUsd, Sats
from timmy.pricing.sources import CENTS_MAX, CENTS_MIN, SOURCES
from timmy.settings import PRICE_SOURCES, Secret, Settings, SettingsError, mask_password, table
from timmy.settings.table import entries

ROOT = Path(__file__).parents[2]
CANARY = "canary-Secret-4711-xyz"


def load(**environ: str) -> Settings:
    return Settings.load(environ, None)


def refusal(**environ: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(**environ)
    return caught.value


NUMBERS = [
    entry.metadata["spec"].name
    for entry in entries().values()
    if isinstance(entry.default, (int, Sats, NanoUsd)) and not isinstance(entry.default, bool)
]


def test_with_nothing_configured_it_works_and_says_that_all_of_it_is_a_stand_in() -> None:
    settings = load()
    assert (settings.wallet, settings.provider, settings.eval_model, settings.work_model) == (
        "builtin",
        "builtin",
        "timmy-demo-small",
        "timmy-demo",
    )
    assert settings.sqlite_path == settings.data_dir / "timmy.db"
    assert settings.dev_routes
    assert [sentence.split(" is ")[0].split(" stands ")[0] for sentence in settings.stand_ins] == [
        "The built-in wallet",
        "The built-in demo agent",
        "The embedded SQLite",
        "The rehearsal cloud",
    ]


def test_the_defaults_of_the_contract() -> None:
    settings = load()
    assert (settings.host, settings.port, settings.eval_fee, settings.margin_bp) == ("127.0.0.1", 8402, Sats(10), 4_000)
    assert (settings.btc_price_fallback_cents, settings.max_request_chars, settings.max_body_bytes) == (100_000_00, 500, 65_536)
    assert (settings.max_v1_body_bytes, settings.pool_seed, settings.pool_credit_bp) == (4 * 2**20, Sats(10_000), 1_000)
    assert str(settings.data_dir).endswith(".local/share/timmy")


NO_NUMBERS = ("NaN", "inf", "-inf", "Infinity", "-1", "-0.5", "1e3", "0x10", "1_000", "ten", "٣", "1,5", "--1", "9" * 40, "True")


@pytest.mark.fault("F01")
@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_stops_the_start_and_names_the_variable(name: str) -> None:
    for text in NO_NUMBERS:
        error = refusal(**{name: text})
        assert len(error.problems) == 1
        assert name in str(error)
        assert text in str(error)
        assert "must be" in str(error)


@pytest.mark.parametrize("attribute", [name for name, entry in entries().items() if entry.metadata["spec"].name in NUMBERS])
def test_a_default_is_allowed_and_what_is_shown_can_be_set(attribute: str) -> None:
    spec, default = entries()[attribute].metadata["spec"], entries()[attribute].default
    shown = spec.kind.show(default)
    assert getattr(load(**{spec.name: f" {shown} "}), attribute) == default


def test_money_and_percentages_are_exact() -> None:
    settings = load(MARGIN_PCT="12.34", INFRA_USD_PER_MONTH="0.3", INFRA_REQUESTS_PER_MONTH="7", BTC_PRICE_USD_FALLBACK="64000.01")
    assert settings.margin_bp == 1234
    assert settings.infra_per_request.value * 7 >= 300_000_000 > (settings.infra_per_request.value - 1) * 7
    assert settings.btc_price_fallback_cents == 6_400_001
    assert "MARGIN_PCT" in str(refusal(MARGIN_PCT="12.345"))


def test_everything_wrong_is_told_at_once() -> None:
    assert len(refusal(PORT="x", EVAL_FEE_SATS="0", WALLET="cash").problems) == 3


def test_an_empty_value_is_no_value() -> None:
    assert load(PORT="", EVAL_FEE_SATS="  ", ADMIN_TOKEN="") == load()


def test_no_price_sources_is_something_that_can_be_said() -> None:
    assert load().btc_price_sources
    assert load(BTC_PRICE_SOURCES="").btc_price_sources == load(BTC_PRICE_SOURCES="none").btc_price_sources == ()
    assert load(BTC_PRICE_SOURCES="kraken, Coinbase").btc_price_sources == ("kraken", "coinbase")
    assert "BTC_PRICE_SOURCES" in str(refusal(BTC_PRICE_SOURCES="kraken,mtgox"))


def test_the_price_sources_and_the_band_are_the_oracles() -> None:
    assert set(PRICE_SOURCES) == set(SOURCES)
    assert (table.BTC_USD_MIN * 100, table.BTC_USD_MAX * 100) == (CENTS_MIN, CENTS_MAX)


@pytest.mark.parametrize(
    ("environ", "needed"),
    [
        ({"WALLET": "lnbits", "LNBITS_API_KEY": CANARY}, "LNBITS_URL"),
        ({"WALLET": "lnbits", "LNBITS_URL": "https://lnbits.example"}, "LNBITS_API_KEY"),
        ({"WALLET": "electrum"}, "ELECTRUM_URL"),
        ({"WALLET": "lnd"}, "LND_MACAROON"),
        ({"WALLET": "nwc"}, "NWC_URI"),
        ({"PROVIDER": "anthropic"}, "ANTHROPIC_API_KEY"),
        ({"PROVIDER": "openai"}, "OPENAI_API_KEY"),
    ],
)
def test_what_belongs_together_is_asked_for(environ: dict[str, str], needed: str) -> None:
    error = refusal(**environ)
    assert f"needs {needed}" in str(error)
    assert CANARY not in str(error)


@pytest.mark.parametrize("public_url", ["http://127.0.0.1:8402", "http://timmy.example", "https://localhost"])
def test_machines_are_not_bought_that_could_not_call_home(public_url: str) -> None:
    """Each order would fail after its machine was paid."""
    shop = {"WALLET": "lnbits", "LNBITS_URL": "https://lnbits.example", "LNBITS_API_KEY": CANARY, "DO_API_TOKEN": CANARY}
    assert "set PUBLIC_URL" in str(refusal(**shop, PUBLIC_URL=public_url))
    assert load(**shop, PUBLIC_URL="https://timmy.example").do_api_token is not None
    assert load(**shop, DO_API_URL="http://127.0.0.1:1", PUBLIC_URL=public_url).do_api_token is not None


def test_a_model_server_of_ones_own_needs_no_key() -> None:
    assert load(PROVIDER="openai", OPENAI_BASE_URL="http://127.0.0.1:11434/v1").openai_api_key is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DATABASE_URL", "mysql://u:p@h/x"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "postgresql://host"),
        ("PUBLIC_URL", "timmy.example"),
        ("PUBLIC_URL", "ftp://timmy.example"),
        ("PUBLIC_URL", "https://timmy.example/shop"),
        ("PUBLIC_URL", "https://u:p@timmy.example"),
        ("PUBLIC_URL", "https://timmy.example?x=1"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "https://*.example"),
        ("CORS_ORIGINS", "https://shop.example/path"),
        ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ("TRUSTED_PROXIES", "::/0"),
        ("TRUSTED_PROXIES", "proxy.example"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("DEV_ROUTES", "perhaps"),
        ("HOST", "a b"),
        ("LNBITS_URL", "lnbits.example"),
        ("LOG_LEVEL", "loud"),
        ("WORK_MODEL", "two words"),
    ],
)
def test_what_cannot_be_meant_is_refused(name: str, text: str) -> None:
    assert name in str(refusal(**{name: text}))


@pytest.mark.fault("G08")
@pytest.mark.parametrize("token", ["changeme", "short", "aaaaaaaaaaaaaaaaaaaaaaaa", "0000000000000000", "has a space in it, long"])
def test_an_admin_token_that_can_be_guessed_is_refused(token: str) -> None:
    error = refusal(ADMIN_TOKEN=token)
    assert "ADMIN_TOKEN" in str(error)
    assert token not in str(error)


SECRET_SETTINGS = {
    "ADMIN_TOKEN": CANARY,
    "TIMMY_TOKEN_SECRET": CANARY,
    "LNBITS_API_KEY": CANARY,
    "ANTHROPIC_API_KEY": CANARY,
    "OPENAI_API_KEY": CANARY,
    "DO_API_TOKEN": CANARY,
    "TAILSCALE_API_KEY": CANARY,
    "ELECTRUM_URL": f"http://user:{CANARY}@127.0.0.1:7777",
    "DATABASE_URL": f"postgresql://timmy:{CANARY}@db.example/timmy",
    "LND_MACAROON": "ef" * 64,
    "NWC_URI": f"nostr+walletconnect://{'ab' * 32}?relay=wss://r.example/{CANARY}&secret={'cd' * 32}",
}


@pytest.mark.fault("G01")
def test_no_secret_shows_in_a_listing_a_repr_or_an_error() -> None:
    settings = load(**SECRET_SETTINGS, WALLET="nwc", PUBLIC_URL="https://timmy.example")
    shown = repr(settings) + str(settings) + repr(settings.rows()) + repr(settings.stand_ins) + f"{settings.admin_token}"
    assert CANARY not in shown
    assert settings.admin_token is not None
    assert settings.admin_token.reveal() == CANARY
    assert CANARY in settings.secrets()
    assert "cd" * 32 in settings.secrets()
    assert "ef" * 64 in settings.secrets()
    assert "ef" * 64 not in shown
    for name, text in SECRET_SETTINGS.items():
        assert CANARY not in str(refusal(**{name: f"{text} and more"}))
    assert CANARY not in str(refusal(DATABASE_URL=f"postgresql://timmy@h:{CANARY}/x"))
    with pytest.raises(TypeError):
        pickle.dumps(settings.admin_token)


def test_every_secret_setting_is_in_the_canary_test() -> None:
    assert set(SECRET_SETTINGS) == {entry.metadata["spec"].name for entry in entries().values() if entry.metadata["spec"].kind.secret}


@pytest.mark.fault("G01")
@pytest.mark.parametrize("written", [bytes.fromhex("02" + "c3" * 80), b"02" + b"C3" * 80 + b"\n"], ids=["as LND writes it", "in hex"])
def test_a_macaroon_is_read_from_its_file_so_that_the_logs_know_it(tmp_path: Path, written: bytes) -> None:
    file = tmp_path / "timmy.macaroon"
    file.write_bytes(written)
    settings = load(WALLET="lnd", LND_MACAROON=str(file))
    assert settings.lnd_macaroon is not None
    assert settings.lnd_macaroon.reveal() == "02" + "c3" * 80
    assert "02" + "c3" * 80 in settings.secrets()
    assert "c3c3" not in repr(settings.rows())


def test_a_file_that_is_not_there_or_is_another_is_said_without_its_content(tmp_path: Path) -> None:
    other, empty = tmp_path / "other", tmp_path / "empty"
    other.write_text(CANARY)
    empty.touch()
    assert "No such file" in str(refusal(LND_MACAROON=str(tmp_path / "none")))
    assert "empty" in str(refusal(LND_MACAROON=str(empty)))
    assert "directory" in str(refusal(LND_MACAROON=str(tmp_path)))
    error = str(refusal(LND_CERT=str(other)))
    assert "no certificate in PEM form" in error
    assert CANARY not in error
    assert "LND_CERT" in str(refusal(LND_CERT="/no\0where"))


def test_a_password_in_an_url_is_masked() -> None:
    assert mask_password(f"postgresql://timmy:{CANARY}@db/x?sslpassword={CANARY}&a=1") == "postgresql://timmy:•••@db/x?sslpassword=•••&a=1"
    assert mask_password("postgresql:///timmy") == "postgresql:///timmy"


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=1111\nexport MARGIN_PCT='25'\nEVAL_FEE_SATS=\n# WALLET=cash\n")
    settings = Settings.load({"PORT": "2222"}, file)
    assert (settings.port, settings.margin_bp, settings.eval_fee) == (2222, 2_500, Sats(10))
    assert {row.name: row.source for row in settings.rows() if row.source != "default"} == {"PORT": "environment", "MARGIN_PCT": str(file)}


def test_a_dollar_sign_in_the_file_is_a_dollar_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE", "leaked")
    file = tmp_path / ".env"
    file.write_text("ADMIN_TOKEN='${ELSEWHERE}-and-$more-words'\n")
    file.chmod(0o600)
    token = Settings.load({}, file).admin_token
    assert token is not None
    assert token.reveal() == "${ELSEWHERE}-and-$more-words"


def test_no_file_is_fine_and_a_file_of_rubbish_is_not(tmp_path: Path) -> None:
    assert Settings.load({}, tmp_path / "absent") == load()
    rubbish = tmp_path / ".env"
    rubbish.write_bytes(b"PORT=\xff\xfe")
    with pytest.raises(SettingsError, match="UTF-8"):
        Settings.load({}, rubbish)


@pytest.mark.fault("G08")
@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_a_file_of_secrets_that_others_can_open_stops_the_start_and_says_what_to_run(tmp_path: Path, mode: int) -> None:
    file = tmp_path / ".env"
    file.write_text(f"ADMIN_TOKEN={CANARY}\n")
    file.chmod(mode)
    with pytest.raises(SettingsError) as caught:
        Settings.load({}, file)
    assert f"chmod 600 {file}" in str(caught.value)
    assert "ADMIN_TOKEN" in str(caught.value)
    assert CANARY not in str(caught.value)
    file.chmod(0o600)
    assert Settings.load({}, file).admin_token == Secret(CANARY)


def test_a_file_without_secrets_may_be_read_by_all(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=1234\nADMIN_TOKEN=\n")
    file.chmod(0o644)
    assert Settings.load({}, file).port == 1234


def test_a_name_that_is_nearly_ours_is_pointed_out_without_its_value(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(f"ADMIN_TOKN={CANARY}\nPATH=/bin\n")
    file.chmod(0o600)
    settings = Settings.load({"MARGINPCT": "10", "HOSTNAME": "box", "HOME": "/root", "PWD": "/"}, file)
    assert len(settings.warnings) == 2
    assert "did you mean ADMIN_TOKEN?" in settings.warnings[0]
    assert "did you mean MARGIN_PCT?" in settings.warnings[1]
    assert CANARY not in repr(settings.warnings)


@pytest.mark.parametrize(
    ("environ", "exist"),
    [
        ({}, True),
        ({"DEV_ROUTES": "0"}, False),
        ({"WALLET": "lnbits", "LNBITS_URL": "https://l.example", "LNBITS_API_KEY": "k"}, False),
        ({"WALLET": "lnbits", "LNBITS_URL": "https://l.example", "LNBITS_API_KEY": "k", "DEV_ROUTES": "1"}, True),
    ],
)
def test_the_development_routes_exist_only_with_the_built_in_wallet_or_when_asked_for(environ: dict[str, str], exist: bool) -> None:
    assert load(**environ).dev_routes is exist


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://127.0.0.1:8402"),
        ({"HOST": "0.0.0.0", "PORT": "80"}, "http://127.0.0.1:80"),
        ({"HOST": "::"}, "http://[::1]:8402"),
        ({"PUBLIC_URL": "https://timmy.example/"}, "https://timmy.example"),
    ],
)
def test_where_customers_find_it(environ: dict[str, str], url: str) -> None:
    assert load(**environ).public_url == url


def test_prices_of_models_can_be_set_exactly() -> None:
    settings = load(MODEL_RATES='{"my/model:7b": {"input": "0.1", "output": 0.25}, "other": {"input": 3, "output": 15, "cached": "0.3"}}')
    mine = settings.model_rates["my/model:7b"]
    assert (mine.input, mine.output, mine.cached) == (NanoUsd.parse("0.1"), NanoUsd.parse("0.25"), NanoUsd.parse("0.1"))
    assert settings.model_rates["other"].cached == NanoUsd.parse("0.3")
    row = next(row for row in settings.rows() if row.name == "MODEL_RATES")
    assert load(MODEL_RATES=row.value).model_rates == settings.model_rates


@pytest.mark.parametrize(
    "text",
    [
        "3.00",
        "[]",
        "{",
        '{"m": 3}',
        '{"m": {"input": "3"}}',
        '{"m": {"input": "3", "output": "-1"}}',
        '{"m": {"input": "3", "output": NaN}}',
        '{"m": {"input": "3", "output": Infinity}}',
        '{"m": {"input": "3", "output": 1e400}}',
        '{"m": {"input": "3", "output": true}}',
        '{"m": {"input": "3", "output": null}}',
        '{"m": {"input": "3", "output": "15", "cashed": "1"}}',
        '{"m": {"input": "3", "output": "15", "cached": "4"}}',
        '{"m": {"input": "0.0000000001", "output": "15"}}',
        '{"m": {"input": "3", "output": "15"}, "m": {"input": "0", "output": "0"}}',
        '{"": {"input": "3", "output": "15"}}',
        "[" * 19_000,
    ],
)
def test_rates_that_make_no_sense_are_refused(text: str) -> None:
    assert "MODEL_RATES" in str(refusal(MODEL_RATES=text))


def test_an_hour_cannot_pay_out_more_than_a_day() -> None:
    assert "PAYOUTS_MAX_SATS_PER_HOUR" in str(refusal(PAYOUTS_MAX_SATS_PER_HOUR="1000", PAYOUTS_MAX_SATS_PER_DAY="999"))


def test_the_demo_models_and_the_defaults_have_a_price() -> None:
    from timmy.pricing import RateBook

    book = RateBook()
    for model in (*table.EVAL_MODELS.values(), *table.WORK_MODELS.values()):
        assert book.rate(model).output_nano_usd_per_mtok > 0


def test_nothing_else_in_the_house_reads_the_environment() -> None:
    readers = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "src").rglob("*.py")
        if "os.environ" in path.read_text() or "os.getenv" in path.read_text() or "from os import environ" in path.read_text()
    ]
    assert [reader for reader in readers if "/settings/" in reader] == ["src/timmy/settings/table.py"]


def test_the_page_of_settings_is_current() -> None:
    page = ROOT / "docs/reference/settings.md"
    made = subprocess.run(
        [sys.executable, str(ROOT / "scripts/settings_page.py"), "--print"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PORT": "1"},  # what is set here does not belong on the page
    )
    assert page.read_text() == made.stdout, "run: python scripts/settings_page.py"
