"""Orders of nodes over HTTP, in a whole house with a clock in our hands: what is asked, what is refused, and who gets the key."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.contract.cloud_house import TOKEN, adapter, cloud_server
from tests.contract.real_house import House, open_house

from timmy.app.nodes import why_closed
from timmy.bootstrap import stopping
from timmy.bootstrap.clean_up import SWEEP
from timmy.bootstrap.desk import AGAIN_WITHIN_MS
from timmy.bootstrap.rehearsal import RehearsalCloud
from timmy.db import Tx
from timmy.lightning.wallets.builtin import BuiltinWallet
from timmy.settings import Settings
from timmy.tasks import NewTask
from timmy.tasks import book as task_book
from timmy.tasks.worker import FAILURES_BEFORE_PARKING

ONE, OTHER = "6f1c0f0e-5a0e-4a53-9a62-2b9f5d1c7e10", "0c8f1f0a-32c0-4f4e-8f0e-5b8e3f6f2a77"
READY = {"state": "ready", "bitcoin": {"blocks": 1}, "lnd": {"version": "1"}, "lnbitsUrl": "http://n:5000", "tailscaleName": "n.ts.net"}


@asynccontextmanager
async def shop(folder: Path, **environ: str) -> AsyncIterator[tuple[House, RehearsalCloud]]:
    async with cloud_server() as there:
        there.never_call = True  # nobody listens on a socket here: the tests call in the machine's stead
        settings = {"DO_API_URL": f"{there.url}/digitalocean", "TAILSCALE_API_URL": f"{there.url}/tailscale"}
        settings |= {"DO_API_TOKEN": TOKEN, "TAILSCALE_API_KEY": TOKEN}
        async with open_house(folder, background=False, **settings, **environ) as house:
            yield house, there


async def ordered(house: House, body: dict[str, Any] | None = None, **headers: str) -> Any:
    return await house.post("/api/bootstrap", body or {}, status=201, **headers)


async def provisioned(house: House, body: dict[str, Any] | None = None) -> Any:
    """Paid, and its machine is up: it has not called home yet."""
    made = await ordered(house, body)
    await house.pay(made["invoice"])
    await house.app.run_due()
    shown = await house.get(path(made))
    assert shown["state"] == "provisioning", shown
    assert shown["address"]
    return made


async def ready(house: House, body: dict[str, Any] | None = None) -> Any:
    made = await provisioned(house, body)
    await house.post(path(made, "/call-home"), READY, Authorization=f"Bearer {home_token(house, made)}")
    await house.app.run_due()
    return made


def path(made: Any, rest: str = "") -> str:
    return f"/api/bootstrap/{made['bootstrapJobId']}{rest}"


def home_token(house: House, made: Any) -> str:
    return house.app.nodes._tokens.call_home(made["bootstrapJobId"])


# ordering -------------------------------------------------------------------------------------------------


@pytest.mark.fault("B18")
async def test_the_same_key_orders_the_same_node_and_answers_the_same(tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, there):
        first = await ordered(house, Idempotency_Key=ONE)
        await house.pay(first["invoice"])
        await house.app.run_due()
        assert await ordered(house, Idempotency_Key=ONE) == first
        assert (await house.post("/api/bootstrap", {"keyType": "rsa-4096"}, status=422, Idempotency_Key=ONE))["code"] == (
            "idempotency_key_reused"
        )
        assert (await ordered(house, Idempotency_Key=OTHER))["bootstrapJobId"] != first["bootstrapJobId"]
        assert there.made == 1


async def test_a_key_that_a_stranger_may_have_chosen_too_orders_nothing(tmp_path: Path) -> None:
    """The same key is answered with the same order, and so with the claim to its private key."""
    async with shop(tmp_path) as (house, _):
        refused = await house.post("/api/bootstrap", {}, status=422, Idempotency_Key="1")
        assert refused["code"] == "idempotency_key_invalid"
        assert "random UUID" in refused["error"]


async def test_nothing_has_to_be_said_to_order(tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, _):
        answer = await house.http.post("/api/bootstrap")
        assert answer.status_code == 201
        assert answer.json()["invoice"]["amountSats"] == 10_000


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"key": "ed25519"}, "field_unknown"),
        ({"keyType": "dsa"}, "field_wrong_type"),
        ({"keyType": 1}, "field_wrong_type"),
        ({"keyType": "ed25519", "sshPublicKey": "ssh-ed25519 AAAA"}, "field_wrong_type"),
        ({"sshPublicKey": "ssh-ed25519 AAAA"}, "ssh_public_key_invalid"),
        ({"sshPublicKey": ""}, "field_empty"),
        ({"sshPublicKey": "x" * 5_000}, "field_too_long"),
        ({"refundTo": "nowhere"}, "lightning_address_malformed"),
    ],
)
async def test_an_order_that_cannot_be_is_refused_in_words(tmp_path: Path, body: dict[str, Any], code: str) -> None:
    async with shop(tmp_path) as (house, _):
        answer = await house.http.post("/api/bootstrap", json=body)
        assert 400 <= answer.status_code < 500
        assert answer.json()["code"] == code, answer.text


async def test_unpaid_orders_are_limited_as_others_are(tmp_path: Path) -> None:
    async with shop(tmp_path, OFFERS_PER_MINUTE="2") as (house, _):
        await ordered(house)
        await ordered(house)
        assert (await house.post("/api/bootstrap", {}, status=429))["code"] == "rate_limited"


async def test_neither_a_rehearsal_for_real_sats_nor_a_machine_for_unreal_ones(tmp_path: Path) -> None:
    async with open_house(tmp_path, background=False, DEV_ROUTES="0") as house:
        refused = await house.post("/api/bootstrap", {}, status=503)
        assert refused["code"] == "bootstrap_not_offered"
        assert "DO_API_TOKEN" in refused["error"]
        wallet = house.app.wallet
        assert isinstance(wallet, BuiltinWallet)
        real = Settings(do_api_token=Settings.load({"DO_API_TOKEN": "t", "DO_API_URL": "http://127.0.0.1:1"}, None).do_api_token)
        assert "not real" in (why_closed(real, wallet) or "")


async def test_an_order_that_nobody_paid_expires_and_is_owed_nothing(tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, there):
        made = await ordered(house)
        house.clock.advance(seconds=3_600)
        await house.app.receiving.sweep_once()
        shown = await house.get(path(made))
        assert shown["state"] == "expired"
        assert shown["refund"]["owedSats"] == 0
        assert there.made == 0


# the call home --------------------------------------------------------------------------------------------


async def test_only_a_whole_report_with_the_machine_s_own_token_makes_it_ready(tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, _):
        made, other = await provisioned(house), await provisioned(house)
        token = f"Bearer {home_token(house, made)}"
        for wrong in ("", "Bearer ", "Bearer nonsense", f"Bearer {home_token(house, other)}", f"Bearer {made['claimToken']}", "Basic eDp5"):
            headers = {"Authorization": wrong} if wrong else {}
            refused = await house.post(path(made, "/call-home"), READY, status=401, **headers)
            assert refused["code"] == "call_home_token_invalid"
        for left_out in ("state", "bitcoin", "lnd", "lnbitsUrl"):
            short = {name: value for name, value in READY.items() if name != left_out}
            refused = await house.post(path(made, "/call-home"), short, status=422, Authorization=token)
            assert left_out in refused["error"]
        for body in ({**READY, "lnd": None}, {**READY, "lnbitsUrl": "ftp://n"}, {**READY, "tailscaleName": "a b"}, {**READY, "state": 1}):
            await house.post(path(made, "/call-home"), body, status=422, Authorization=token)
        assert (await house.get(path(made)))["state"] == "provisioning"
        for _ in range(2):  # the answer to the first was lost, as far as the machine knows
            assert await house.post(path(made, "/call-home"), READY, Authorization=token) == {"state": "ready"}
        assert (await house.get(path(other)))["state"] == "provisioning"


async def test_a_call_home_of_an_order_that_has_failed_changes_nothing(tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, there):
        made = await provisioned(house)
        house.clock.advance(seconds=24 * 3_600)
        await house.app.run_due()
        assert (await house.get(path(made)))["state"] == "failed"
        refused = await house.post(path(made, "/call-home"), READY, status=410, Authorization=f"Bearer {home_token(house, made)}")
        assert refused["code"] == "bootstrap_over"
        house.clock.advance(seconds=60)
        await house.app.run_due()
        assert there.standing() == there.standing("ssh_keys") == there.standing("join_keys") == []


# the key --------------------------------------------------------------------------------------------------


@pytest.mark.fault("B17")
async def test_of_fifty_who_ask_at_once_one_gets_the_key(tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, _):
        made = await ready(house)
        shown = await asyncio.gather(*(house.get(path(made)) for _ in range(50)))
        assert len([one for one in shown if one["sshPrivateKey"] is not None]) == 1
        assert {one["sshKey"]["state"] for one in shown} <= {"waiting", "delivered"}


@pytest.mark.fault("C19", "G05")
async def test_a_key_that_was_lost_on_its_way_is_had_again_by_its_claimant_for_ten_minutes(tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, _):
        made, other = await ready(house), await ready(house)
        key = (await house.get(path(made)))["sshPrivateKey"]
        house.clock.advance(ms=AGAIN_WITHIN_MS - 1)
        await house.app.run_due()
        assert (await house.get(path(made)))["sshPrivateKey"] is None
        refused = await house.get(path(made), status=401, X_Claim_Token=other["claimToken"])
        assert refused["code"] == "claim_token_invalid"
        assert (await house.get(path(made), X_Claim_Token=made["claimToken"]))["sshPrivateKey"] == key
        house.clock.advance(ms=1)
        assert (await house.get(path(made), X_Claim_Token=made["claimToken"]))["sshPrivateKey"] is None
        await house.app.run_due()
        shown = await house.get(path(made), X_Claim_Token=made["claimToken"])
        assert (shown["sshPrivateKey"], shown["sshKey"]["state"]) == (None, "erased")
        assert shown["sshKey"]["deliveredAt"]


async def test_a_look_that_takes_nothing_leaves_the_key_where_it_is(tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, _):
        made = await ready(house)
        assert (await house.http.head(path(made))).status_code == 200
        assert (await house.http.get(path(made, "/events"))).text.count("PRIVATE KEY") == 0
        assert (await house.get(path(made)))["sshPrivateKey"]


@pytest.mark.fault("G04", "G01")
async def test_a_private_key_is_in_no_file_and_no_log_and_after_it_was_erased_nothing_opens_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with shop(tmp_path) as (house, there):
        made = await ready(house)
        first = await house.get(path(made))
        lines = [line for line in first["sshPrivateKey"].splitlines() if len(line) > 20 and "PRIVATE" not in line]
        found = everything_in(tmp_path)
        assert not [line for line in lines if line.encode() in found], "unsealed in a file, while it was still here"
        house.clock.advance(ms=AGAIN_WITHIN_MS)
        await house.app.run_due()
        assert not (tmp_path / "bootstrap_keys" / made["bootstrapJobId"]).exists()
        rows = "".join(repr(await house.tables()))
        written = everything_in(tmp_path) + rows.encode() + "".join(capfd.readouterr()).encode()
        secrets = [*lines, made["claimToken"], home_token(house, made)]
        assert not [secret for secret in secrets if secret.encode() in written]
        join_keys: list[str] = there.shelf.change(lambda things: [key["key"] for key in things["join_keys"].values()])
        assert not [key for key in join_keys if key.encode() in written]


def everything_in(folder: Path) -> bytes:
    """The database, its write-ahead log, and whatever else lies there."""
    return b"".join(open(os.path.join(place, name), "rb").read() for place, _, names in os.walk(folder) for name in names)


async def test_a_pair_of_rsa_is_made_on_request(tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, _):
        made = await ready(house, {"keyType": "rsa-4096"})
        shown = await house.get(path(made))
        assert shown["sshKey"]["type"] == "rsa-4096"
        assert shown["sshKey"]["publicKey"].startswith("ssh-rsa ")
        assert shown["sshPrivateKey"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----")


async def test_after_a_restore_no_key_is_made_that_would_not_open_the_machine(tmp_path: Path) -> None:
    """A backup leaves private keys out, so an order may come back without its own."""
    async with shop(tmp_path) as (house, there):
        waits, makes = await ready(house), await provisioned(house)
        await house.app.db.write(_as_restored)
        house.clock.advance(seconds=60)
        await house.app.run_due()
        shown = await house.get(path(waits))
        assert (shown["state"], shown["sshKey"]["state"], shown["sshPrivateKey"]) == ("ready", "erased", None)
        broken = await house.get(path(makes))
        assert (broken["state"], broken["refund"]["owedSats"]) == ("failed", 10_000)
        house.clock.advance(seconds=60)
        await house.app.run_due()
        assert len(there.standing()) == 1


def _as_restored(tx: Tx) -> None:
    tx.run("UPDATE bootstraps SET sealed_key = NULL, sealed_join_key = NULL")


# later ----------------------------------------------------------------------------------------------------


@pytest.mark.fault("E21")
async def test_a_node_that_is_abused_is_stopped_and_its_customer_reads_why(tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, there):
        made, other = await ready(house), await ready(house)
        cloud = adapter(there.url)
        for _ in range(2):
            await stopping.stop(house.app.db, cloud, made["bootstrapJobId"], "it sends spam", house.clock.now_ms())
        await sweep(house)
        shown = await house.get(path(made))
        assert (shown["state"], shown["trouble"]) == ("ready", "The operator has stopped this machine: it sends spam")
        assert (await house.get(path(other)))["trouble"] is None
        statuses = there.shelf.change(lambda things: [bool(one.get("is_off")) for one in things["droplets"].values()])
        assert sorted(statuses) == [False, True]
        assert len(there.standing()) == 2, "what is on it stays"
        waits = await ordered(house)
        with pytest.raises(stopping.NotStanding):
            await stopping.stop(house.app.db, cloud, waits["bootstrapJobId"], "no", 0)
        await cloud.aclose()


async def sweep(house: House) -> None:
    await house.app.db.write(task_book.add, [NewTask(SWEEP, "cloud", house.clock.now_ms())])
    await house.app.run_due()


@pytest.mark.fault("D33")
async def test_a_machine_that_the_cloud_stops_later_is_noticed_and_told_of(tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, there):
        made, other = await ready(house), await ready(house)
        assert (await house.get(path(made)))["trouble"] is None
        stopped, gone = there.standing()

        def turn_off(things: dict[str, Any]) -> None:
            things["droplets"][stopped]["is_off"] = True
            del things["droplets"][gone]

        there.shelf.change(turn_off)
        await sweep(house)
        troubles = sorted([(await house.get(path(one)))["trouble"] for one in (made, other)])
        assert troubles == ["The cloud does not have this machine any more.", "The cloud has stopped this machine."]


@pytest.mark.fault("D31")
async def test_what_nobody_wants_any_more_is_swept_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, there):
        made = await ready(house)
        (keeps,) = there.standing()

        def plant(things: dict[str, Any]) -> None:
            mine = things["droplets"][keeps]
            things["droplets"]["99998"] = {**mine, "id": 99_998}
            things["droplets"]["99999"] = {**mine, "id": 99_999, "name": "theirs", "tags": ["timmy-bst_other", "timmy-node"]}

        there.shelf.change(plant)
        await sweep(house)
        house.clock.advance(seconds=60)
        await house.app.run_due()
        assert there.standing() == sorted([keeps, "99999"]), "one order has one machine; another house's is not touched"
        assert (await house.get(path(made)))["state"] == "ready"


async def test_orders_that_nobody_paid_for_are_forgotten_in_the_end(tmp_path: Path) -> None:
    async with shop(tmp_path) as (house, _):
        made, kept = await ordered(house), await ready(house)
        house.clock.advance(seconds=3_600)
        await house.app.receiving.sweep_once()
        for _ in range(200):
            house.clock.advance(seconds=24 * 3_600)
            await house.app.receiving.sweep_once()
        house.clock.advance(seconds=40 * 24 * 3_600)
        await house.app.db.write(task_book.hasten, NewTask("prune", "old", house.clock.now_ms()))
        await house.app.db.write(task_book.add, [NewTask("prune", "old", house.clock.now_ms())])
        await house.app.run_due()
        await house.get(path(made), status=404)
        assert (await house.get(path(kept)))["state"] == "ready"


async def test_an_order_that_breaks_each_time_fails_and_keeps_nobodys_sats(tmp_path: Path) -> None:
    (not_a_folder := tmp_path / "keys").write_text("")
    async with shop(tmp_path / "house", BOOTSTRAP_KEYS_DIR=str(not_a_folder)) as (house, there):
        made = await ordered(house)
        await house.pay(made["invoice"])
        await house.app.db.write(has_failed_before, FAILURES_BEFORE_PARKING - 1)
        await house.app.run_due()
        shown = await house.get(path(made))
        assert (shown["state"], shown["refund"]["owedSats"]) == ("failed", made["invoice"]["amountSats"])
        assert shown["reason"] == "Something of ours broke on this order, and would break again."
        assert await house.app.db.read(task_book.parked) == []
        assert there.made == 0


def has_failed_before(tx: Tx, times: int) -> None:
    tx.run("UPDATE tasks SET failures = :times WHERE kind = 'bootstrap_provision'", times=times)
