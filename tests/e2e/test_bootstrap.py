"""A node, bought from a real server over real sockets, made at a rehearsal cloud that speaks HTTP, and collected."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from tests.contract.cloud_house import TOKEN, cloud_server
from tests.e2e.serving import PATIENCE_SECONDS, Site, serving
from timmy.app.books import all_checks
from timmy.bootstrap.rehearsal import Fault, RehearsalCloud


@asynccontextmanager
async def shop(folder: Path, **environ: str) -> AsyncIterator[tuple[Site, RehearsalCloud]]:
    async with cloud_server() as there:
        urls = {"DO_API_URL": f"{there.url}/digitalocean", "TAILSCALE_API_URL": f"{there.url}/tailscale"}
        tokens = {"DO_API_TOKEN": TOKEN, "TAILSCALE_API_KEY": TOKEN}
        async with serving({"DATA_DIR": str(folder), **urls, **tokens, **environ}) as site:
            yield site, there


async def until(site: Site, order_id: str, *states: str) -> Any:
    """The order without its key: HEAD and events take nothing, and this reads the events."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with site.http.get(f"{site.url}/api/bootstrap/{order_id}/events") as stream:
            async for line in stream.content:
                if line.startswith(b"data: "):
                    shown = json.loads(line.removeprefix(b"data: "))
                    if shown.get("state") in states:
                        return shown
    raise AssertionError("it ended otherwise")


async def bought(site: Site, body: dict[str, Any] | None = None) -> Any:
    made = await site.post("/api/bootstrap", body or {}, status=201)
    await site.pay(made["invoice"])
    return made


@pytest.mark.fault("G04", "B18")
async def test_one_payment_buys_one_node_and_its_key_once(tmp_path: Path) -> None:
    async with shop(tmp_path) as (site, there):
        made = await bought(site)
        assert made["state"] == "awaiting_payment"
        assert made["invoice"]["amountSats"] == 10_000
        ready = await until(site, made["bootstrapJobId"], "ready")
        assert ready["sshPrivateKey"] is None, "a stream of events never carries it"
        first = await site.get(f"/api/bootstrap/{made['bootstrapJobId']}")
        again = await site.get(f"/api/bootstrap/{made['bootstrapJobId']}")
        assert again["sshPrivateKey"] is None
        assert again["sshKey"]["state"] == "delivered"
        assert again["sshKey"]["deliveredAt"]
        assert there.made == 1
        assert len(there.standing()) == 1
        private = load_ssh_private_key(first["sshPrivateKey"].encode(), None)
        assert isinstance(private, Ed25519PrivateKey)
        public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        assert first["sshKey"]["publicKey"].startswith(public)
        assert first["address"].startswith("203.0.113.")
        assert first["tailscaleName"].endswith(".ts.net")
        assert first["lnbitsUrl"].endswith(":5000")
        assert any("node_key" in step for step in first["nextSteps"])
        user_data = there.shelf.change(lambda things: next(iter(things["droplets"].values()))["user_data"])
        assert public in user_data
        assert "PRIVATE" not in user_data
        assert [check for check in await site.app.db.read(all_checks) if not check.holds] == []


@pytest.mark.fault("D32")
async def test_what_cannot_be_had_is_owed_back_and_nothing_is_left(tmp_path: Path) -> None:
    async with shop(tmp_path, DO_SIZE="s-sold-out", DO_VOLUME_SIZE_GB="100") as (site, there):
        made = await bought(site)
        failed = await until(site, made["bootstrapJobId"], "failed")
        assert "not available" in failed["reason"]
        assert failed["refund"]["owedSats"] == 10_000
        invoice = await site.post("/api/dev/stub/invoice", {"amountSats": 10_000}, status=201)
        path = f"/api/bootstrap/{made['bootstrapJobId']}/refund"
        await site.post(path, {"invoice": invoice["paymentRequest"]}, status=200)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (shown := await site.get(f"/api/bootstrap/{made['bootstrapJobId']}"))["refund"]["state"] != "paid":
                await asyncio.sleep(0.05)
            while there.standing("volumes") or there.standing("ssh_keys") or there.standing("join_keys"):
                await asyncio.sleep(0.05)
        assert shown["refund"]["paidSats"] == 10_000
        assert there.made == 0


@pytest.mark.fault("D31")
async def test_a_machine_that_was_made_though_the_cloud_said_otherwise_is_adopted(tmp_path: Path) -> None:
    async with shop(tmp_path) as (site, there):
        there.faults.append(Fault("POST", "/digitalocean/v2/droplets", "after", 500, hides_seconds=1.0))
        made = await bought(site)
        await until(site, made["bootstrapJobId"], "ready")
        assert there.made == 1


async def test_a_customer_may_bring_their_own_key(tmp_path: Path) -> None:
    public = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    async with shop(tmp_path) as (site, there):
        made = await bought(site, {"sshPublicKey": f"{public} me@home"})
        await until(site, made["bootstrapJobId"], "ready")
        shown = await site.get(f"/api/bootstrap/{made['bootstrapJobId']}")
        assert shown["sshPrivateKey"] is None
        assert (shown["sshKey"]["type"], shown["sshKey"]["state"]) == ("own", "own")
        user_data = there.shelf.change(lambda things: next(iter(things["droplets"].values()))["user_data"])
        assert public in user_data
        assert "me@home" not in user_data


async def test_with_nothing_configured_it_rehearses_and_says_so(tmp_path: Path) -> None:
    async with serving({"DATA_DIR": str(tmp_path)}) as site:
        health = await site.get("/api/healthz")
        assert health["parts"]["cloud"]["kind"] == "rehearsal"
        assert any("rehearsal" in sentence for sentence in health["standIns"])
        made = await bought(site)
        assert made["rehearsal"] is True
        ready = await until(site, made["bootstrapJobId"], "ready")
        assert "no machine was rented" in ready["rehearsalNote"]
