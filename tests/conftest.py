"""What every test may ask for: a database of each engine, fresh, and a clock that stands still."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests import clusters
from timmy.clock import ManualClock
from timmy.db import Database, open_database

# How long an example takes says something about the machine that day, and nothing about the code.
settings.register_profile("timmy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("timmy")
ENGINES = ("sqlite", "postgres")
# Left to `./run heavy`, so that the suite stays under twenty minutes: nodes whose server is killed at each step, a real LNbits in each, and
# those that are paid over a real channel.
HEAVY_ONLY = ["chaos/test_node_kill9.py", "node/test_with_real_lnbits.py", "node/test_over_lightning.py"]
# The same, of files whose other tests are the suite's. pytest counts them as deselected.
HEAVY_ONLY_TESTS = (
    "test_kill9.py::test_a_worker_that_was_paused_past_its_lease_writes_nothing_when_it_wakes",  # test_stale_worker has it in one process
    "test_kill9.py::test_a_database_that_is_killed_under_running_servers_loses_nothing",
    "test_backup.py::test_a_backup_under_load_brings_every_customers_sats_back[postgres]",
    "test_races.py::test_an_invoice_that_several_processes_let_expire_expires_once",
    "test_races.py::test_a_payment_that_comes_while_its_invoice_expires_goes_on_or_is_owed_back",
    "test_races.py::test_processes_that_send_at_once_keep_the_limit_of_the_hour_together",
    "test_estimates_change_nothing.py::test_ten_thousand_estimates_leave_every_table_as_it_was[postgres]",
    "test_http_testkit.py::test_a_job_that_gets_stuck_is_a_failure_and_not_a_wait_for_ever",
    "test_http_testkit.py::test_a_server_that_breaks_the_contract_fails",
    "test_wallet_lnbits.py::test_a_payment_during_which_lnbits_dies_is_told_truly[0.05]",
    "test_wallet_lnbits.py::test_a_payment_during_which_lnbits_dies_is_told_truly[0.02]",
    "test_wallet_electrum.py::test_a_routing_fee_above_the_limit_is_not_paid",
    "test_wallet_electrum.py::test_a_payment_at_any_moment_of_which_our_node_is_killed_is_told_truly[0.03]",
    "test_wallet_electrum.py::test_a_payment_at_any_moment_of_which_our_node_is_killed_is_told_truly[0.1]",
    "test_demo.py::test_the_demo_can_be_told_in_plain_ascii",
    "test_plain_page.py::test_a_job_is_bought_with_scripts_off[phone]",
    "test_plain_page.py::test_each_page_is_accessible[desktop]",
    "test_refund_places.py::test_an_lnurl_takes_the_sats[lightning:{}]",
    "test_refund_places.py::test_an_lnurl_takes_the_sats[  LIGHTNING:{}  ]",
    "test_refund_places.py::test_what_is_no_place_for_sats_is_told_with_what_would_be",
    "test_session_crashes.py::test_dead_at_any_point_of_a_request_on_postgres",
    "test_foreign_buyers.py::test_clients_from_npm_buy_jobs[alby-l402]",
    "test_scene.py::test_the_same_moment_is_the_same_picture",
)
HEAVY = os.environ.get("TIMMY_HEAVY") == "1"
collect_ignore = [] if HEAVY else HEAVY_ONLY
# The files that take longest, begun first: one that began last would run alone while the other processes had nothing left.
LONGEST_FIRST = (
    "chaos/test_kill9.py",
    "e2e/test_backup.py",
    "e2e/test_buyer_cli.py",
    "e2e/test_buyer_cli_resume.py",
    "contract/test_http_testkit.py",
    "chaos/test_crash_everywhere.py",
    "chaos/test_crash_on_postgres.py",
    "browser/test_plain_page.py",
    "operator_scripts/test_scripts.py",
    "chaos/test_races.py",
    "browser/test_scene.py",
    "contract/test_wallet_electrum.py",
    "browser/test_paying.py",
    "contract/test_session_crashes.py",
    "contract/test_wallet_lnbits.py",
    "browser/test_for_everybody.py",
    "browser/test_landing.py",
    "node/test_provisioning.py",
    "e2e/test_demo.py",
    "browser/test_balance.py",
    "contract/test_estimates_change_nothing.py",
    "e2e/test_serve.py",
    "chaos/test_db_crash.py",
    "contract/test_http_sessions.py",
    "chaos/test_node_crashes.py",
    "browser/test_way_back.py",
    "browser/test_identity_and_pool.py",
    "browser/test_two_processes.py",
    "browser/test_refund_places.py",
    "e2e/test_foreign_buyers.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not HEAVY and (left := [item for item in items if item.nodeid.endswith(HEAVY_ONLY_TESTS)]):
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
    tests = Path(__file__).parent
    place = {tests / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A real PostgreSQL from a wheel, one per test process; answers its URL for a maintenance database."""
    with clusters.cluster() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh PostgreSQL database as a server that was just started has it: migrated, with nothing in it."""
    with clusters.database(postgres_server, like=clusters.MIGRATED) as url:
        yield url


@pytest.fixture
def bare_postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh PostgreSQL database without a table, for what is about migrations themselves."""
    with clusters.database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("migrated") / "timmy.db"
    asyncio.run(open_database(f"sqlite://{file}").aclose())
    return file


@pytest.fixture
def sqlite_url(tmp_path: Path, migrated_file: Path) -> str:
    """A fresh file as a server that was just started has it: migrated, with nothing in it."""
    shutil.copy(migrated_file, tmp_path / "timmy.db")
    return f"sqlite://{tmp_path / 'timmy.db'}"


@pytest.fixture
def bare_sqlite_url(tmp_path: Path) -> str:
    return f"sqlite://{tmp_path / 'timmy.db'}"


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest) -> str:
    """The same test, once on each engine."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url)
    yield database
    await database.aclose()


@pytest.fixture
async def sqlite_db(sqlite_url: str) -> AsyncIterator[Database]:
    database = open_database(sqlite_url)
    yield database
    await database.aclose()


@pytest.fixture(autouse=True)
def logs_of_its_own() -> Iterator[None]:
    """A test that configures the logs writes to a stream that is closed with it; the next test's logs must not go there."""
    yield
    structlog.reset_defaults()
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if type(handler).__module__ == "timmy.logs"]:
        root.removeHandler(handler)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
