"""What a cloud promises, and each way in which its API says that it cannot: the adapters, against real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from tests.contract.cloud_house import CHOICE, QUICK, adapter, cloud_server

from timmy.bootstrap.cloud import Cloud, CloudBusy, CloudDown, CloudRefused, MachineWanted, Status, order_of_tags
from timmy.bootstrap.digitalocean import DigitalOcean
from timmy.bootstrap.keys import make_pair
from timmy.bootstrap.model import KeyKind
from timmy.bootstrap.rehearsal import Fault, RehearsalCloud
from timmy.bootstrap.rehearsal.faults import How
from timmy.bootstrap.rehearsal.server import _heard

ORDER, OTHER = "bst_aaaaaaaaaaaaaaaaaaaaaaaaaa", "bst_bbbbbbbbbbbbbbbbbbbbbbbbbb"
PUBLIC_KEY = make_pair(KeyKind.ED25519, "test").public
DROPLETS, KEYS = "/digitalocean/v2/droplets", "/digitalocean/v2/account/keys"
JOIN_KEYS = "/tailscale/api/v2/tailnet/-/keys"


@pytest.fixture
async def there() -> AsyncIterator[RehearsalCloud]:
    async with cloud_server() as rehearsal:
        yield rehearsal


@pytest.fixture
async def cloud(there: RehearsalCloud) -> AsyncIterator[DigitalOcean]:
    cloud = adapter(there.url)
    yield cloud
    await cloud.aclose()


async def wanted(cloud: Cloud, order_id: str = ORDER) -> MachineWanted:
    return MachineWanted(order_id, "#cloud-config\n", (await cloud.upload_key(order_id, PUBLIC_KEY)).id)


async def test_a_machine_is_made_and_found_again_by_its_order(cloud: DigitalOcean) -> None:
    made = await cloud.make_machine(await wanted(cloud))
    assert [one.id for one in await cloud.machines(ORDER)] == [made.id]
    assert await cloud.machines(OTHER) == []
    found = await cloud.machine(made.id)
    assert found is not None
    assert found.status is Status.ACTIVE
    assert found.address is not None
    assert found.address.startswith("203.0.113.")
    assert order_of_tags(found.tags) == ORDER
    await cloud.destroy_machine(made.id)
    await cloud.destroy_machine(made.id)
    assert await cloud.machine(made.id) is None


async def test_a_key_is_uploaded_once_and_dropped_by_whoever_uploaded_it(cloud: DigitalOcean, there: RehearsalCloud) -> None:
    first = await cloud.upload_key(ORDER, PUBLIC_KEY)
    assert await cloud.upload_key(OTHER, PUBLIC_KEY) == first, "the same key is found by what it is"
    await cloud.drop_key(OTHER, PUBLIC_KEY)
    assert there.standing("ssh_keys") == [first.id]
    await cloud.drop_key(ORDER, PUBLIC_KEY)
    await cloud.drop_key(ORDER, PUBLIC_KEY)
    assert there.standing("ssh_keys") == []


async def test_a_key_that_another_uploads_meanwhile_is_found(cloud: DigitalOcean, there: RehearsalCloud) -> None:
    there.faults.append(Fault("POST", KEYS, "after", 422, message="SSH Key is already in use on your account"))
    assert (await cloud.upload_key(ORDER, PUBLIC_KEY)).id in there.standing("ssh_keys")


async def test_a_volume_is_made_once_and_goes_when_no_machine_holds_it(there: RehearsalCloud) -> None:
    cloud = adapter(there.url, replace(CHOICE, volume_gb=100))
    volume = await cloud.make_volume(ORDER)
    assert (await cloud.make_volume(ORDER)).id == volume.id
    machine = await cloud.make_machine(replace(await wanted(cloud), volume_id=volume.id))
    with pytest.raises(CloudBusy):
        await cloud.destroy_volume(volume.id)
    assert [one.is_attached for one in await cloud.volumes()] == [True]
    await cloud.destroy_machine(machine.id)
    await cloud.destroy_volume(volume.id)
    assert there.standing("volumes") == []
    await cloud.aclose()


async def test_a_volume_whose_answer_was_lost_is_found_by_its_name(there: RehearsalCloud) -> None:
    cloud = adapter(there.url, replace(CHOICE, volume_gb=100))
    there.faults.append(Fault("POST", "/digitalocean/v2/volumes", "lost"))
    with pytest.raises(CloudDown):
        await cloud.make_volume(ORDER)
    await cloud.make_volume(ORDER)
    assert len(there.standing("volumes")) == 1
    await cloud.aclose()


async def test_a_join_key_lets_in_one_machine_and_its_order_has_one_at_a_time(cloud: DigitalOcean, there: RehearsalCloud) -> None:
    first = await cloud.make_join_key(ORDER)
    again = await cloud.make_join_key(ORDER)
    other = await cloud.make_join_key(OTHER)
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.secret not in repr(first), "its secret is for the machine alone"
    assert sorted(there.standing("join_keys")) == sorted([again.id, other.id])
    made: dict[str, Any] = there.shelf.change(lambda things: dict(things["join_keys"][again.id]))
    assert made["capabilities"]["devices"]["create"] == {
        "reusable": False,
        "ephemeral": False,
        "preauthorized": True,
        "tags": ["tag:timmy-node"],
    }
    await cloud.drop_join_keys(ORDER)
    assert there.standing("join_keys") == [other.id]


async def test_the_devices_of_an_order_are_forgotten_and_no_others(cloud: DigitalOcean, there: RehearsalCloud) -> None:
    def join(things: dict[str, Any]) -> None:
        things["devices"] = {"1": {"id": "1", "hostname": "timmy-bst-a"}, "2": {"id": "2", "hostname": "timmy-bst-ab"}}

    there.shelf.change(join)
    for _ in range(2):
        await cloud.drop_devices("bst_a")
    assert there.standing("devices") == ["2"]


async def test_without_a_private_network_there_is_no_join_key(there: RehearsalCloud) -> None:
    cloud = adapter(there.url)
    cloud._tailnet = None
    assert await cloud.make_join_key(ORDER) is None
    await cloud.drop_join_keys(ORDER)
    await cloud.aclose()


async def test_every_page_of_a_list_is_read() -> None:
    async with cloud_server(replace(QUICK, per_page_max=2)) as there:
        cloud = adapter(there.url)
        made = [(await cloud.make_machine(await wanted(cloud, order))).id for order in (ORDER, OTHER, ORDER, OTHER, ORDER)]
        assert [one.id for one in await cloud.machines(ORDER)] == made[::2]
        assert sorted(one.id for one in await cloud.machines()) == sorted(made)
        assert await cloud.disk_gb() == 80, "the size stands on the second page"
        await cloud.aclose()


async def test_the_disk_that_holds_the_chain_is_the_volume_where_there_is_one(there: RehearsalCloud) -> None:
    cloud = adapter(there.url, replace(CHOICE, volume_gb=300))
    assert await cloud.disk_gb() == 300
    await cloud.aclose()


# how it fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, CloudRefused),
        (401, CloudRefused),
        (403, CloudRefused),
        (404, CloudRefused),
        (408, CloudDown),
        (409, CloudBusy),
        (410, CloudRefused),
        (422, CloudRefused),
        (423, CloudBusy),
        (429, CloudBusy),
        (301, CloudDown),
        (500, CloudDown),
        (502, CloudDown),
        (503, CloudDown),
        (504, CloudDown),
    ],
)
async def test_each_status_is_one_of_three_words(cloud: DigitalOcean, there: RehearsalCloud, status: int, kind: type[Exception]) -> None:
    ready = await wanted(cloud)
    there.faults.append(Fault("POST", DROPLETS, "refuse", status))
    with pytest.raises(CloudDown if issubclass(kind, CloudDown) else kind) as caught:
        await cloud.make_machine(ready)
    assert type(caught.value) is kind
    assert there.made == 0
    there.faults.append(Fault("POST", JOIN_KEYS, "refuse", status))
    with pytest.raises(kind):
        await cloud.make_join_key(ORDER)


@pytest.mark.fault("D31")
@pytest.mark.parametrize("how", ["after", "lost", "silent"])
async def test_an_answer_that_is_lost_leaves_a_machine_that_is_found(there: RehearsalCloud, how: How) -> None:
    cloud = adapter(there.url, timeout_seconds=0.5 if how == "silent" else 5.0)
    ready = await wanted(cloud)
    there.faults.append(Fault("POST", DROPLETS, how))
    with pytest.raises(CloudDown) as caught:
        await cloud.make_machine(ready)
    assert not isinstance(caught.value, CloudBusy), "it cannot know that nothing was made"
    assert [one.id for one in await cloud.machines(ORDER)] == there.standing()
    await cloud.aclose()


@pytest.mark.parametrize("how", ["cut", "nonsense"])
async def test_no_answer_and_a_senseless_one_are_alike(cloud: DigitalOcean, there: RehearsalCloud, how: How) -> None:
    there.faults.append(Fault("GET", DROPLETS, how, times=2))  # a GET on a connection that is cut is asked once more by the client itself
    with pytest.raises(CloudDown):
        await cloud.machines(ORDER)
    there.faults.clear()
    assert await cloud.machines(ORDER) == []


async def test_a_time_out_is_no_answer(there: RehearsalCloud) -> None:
    cloud = adapter(there.url, timeout_seconds=0.2)
    there.faults.append(Fault("GET", DROPLETS, "mute"))
    with pytest.raises(CloudDown):
        await cloud.machines()
    await cloud.aclose()


async def test_nobody_there_is_no_answer() -> None:
    async with cloud_server() as there:
        url = there.url
    cloud = adapter(url)
    with pytest.raises(CloudDown):
        await cloud.machines()
    await cloud.aclose()


async def test_a_rate_limit_says_how_long_to_wait(there: RehearsalCloud, cloud: DigitalOcean) -> None:
    there.pace = replace(QUICK, per_minute_max=0)
    with pytest.raises(CloudBusy) as caught:
        await cloud.machines()
    assert caught.value.after_seconds == 1.0


@pytest.mark.parametrize("given", ["Wed, 21 Oct 2026 07:28:00 GMT", "-5", "1e9", "٣"])
async def test_a_wait_that_is_no_number_of_seconds_is_not_believed(cloud: DigitalOcean, there: RehearsalCloud, given: str) -> None:
    headers = {"Retry-After": given} if given.isascii() else {}
    there.faults.append(Fault("GET", DROPLETS, "refuse", 429, headers=headers))
    with pytest.raises(CloudBusy) as caught:
        await cloud.machines()
    assert caught.value.after_seconds is None


@pytest.mark.fault("D32")
@pytest.mark.parametrize("size", ["s-sold-out", "s-none-of-this-name"])
async def test_what_is_sold_out_is_refused_with_its_words(there: RehearsalCloud, size: str) -> None:
    cloud = adapter(there.url, replace(CHOICE, size=size))
    with pytest.raises(CloudRefused, match="Size is not available"):
        await cloud.make_machine(await wanted(cloud))
    await cloud.aclose()


async def test_a_wrong_token_is_refused_and_not_told_of(there: RehearsalCloud) -> None:
    cloud = adapter(there.url, token="not that one")
    with pytest.raises(CloudRefused) as caught:
        await cloud.machines()
    assert "not that one" not in str(caught.value)
    await cloud.aclose()


async def test_an_account_that_is_full_is_refused(cloud: DigitalOcean) -> None:
    ready = await wanted(cloud)
    await asyncio.gather(*(cloud.make_machine(ready) for _ in range(25)))
    with pytest.raises(CloudRefused, match="droplet limit"):
        await cloud.make_machine(ready)


async def test_rehearsals_that_were_played_to_their_end_do_not_fill_the_account(there: RehearsalCloud, cloud: DigitalOcean) -> None:
    ready = await wanted(cloud)
    made = await asyncio.gather(*(cloud.make_machine(ready) for _ in range(25)))
    for one in made:
        there.shelf.change(partial(_heard, droplet_id=one.id))  # as when they have called home
    another = await cloud.make_machine(ready)
    assert sorted(there.standing()) == sorted(one.id for one in [*made, another])
    assert [bool(one["user_data"]) for one in there.shelf.change(lambda things: list(things["droplets"].values()))] == [False] * 25 + [True]
