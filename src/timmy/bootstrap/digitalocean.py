"""DigitalOcean's API, v2: droplets, SSH keys, volumes; and beside it the private network that a droplet joins.

https://docs.digitalocean.com/reference/api. A droplet is looked for by its tag and by its name, because tags are put on after it exists:
one whose making was cut off may lack them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from timmy.bootstrap.cloud import (
    NODE_TAG,
    CloudBusy,
    CloudDown,
    CloudKey,
    CloudRefused,
    JoinKey,
    Machine,
    MachineWanted,
    Status,
    Volume,
    name_of,
    tag_of,
)
from timmy.bootstrap.http_api import Api, Document
from timmy.bootstrap.keys import md5_fingerprint
from timmy.bootstrap.tailscale import Tailscale

PER_PAGE = 200  # the most that it gives
PAGES_MAX = 100
STATUSES = {"new": Status.NEW, "active": Status.ACTIVE, "off": Status.OFF, "archive": Status.OFF}


@dataclass(frozen=True, slots=True)
class Choice:
    """What the operator buys. `volume_gb` 0: no volume."""

    region: str
    size: str
    image: str
    volume_gb: int


class DigitalOcean:
    """The `Cloud` whose machines are droplets."""

    def __init__(self, api: Api, tailnet: Tailscale | None, choice: Choice, *, settles_within_seconds: int, name: str) -> None:
        self.name = name
        self.settles_within_seconds = settles_within_seconds
        self._api = api
        self._tailnet = tailnet
        self._choice = choice
        self._disk_gb: int | None = None

    async def aclose(self) -> None:
        await self._api.aclose()
        if self._tailnet is not None:
            await self._tailnet.aclose()

    # keys ------------------------------------------------------------------------------------------------

    async def upload_key(self, order_id: str, public_key: str) -> CloudKey:
        known = await self._key(public_key)
        if known is not None:
            return known
        try:
            made = await self._api.ask("POST", "/v2/account/keys", body={"name": tag_of(order_id), "public_key": public_key})
        except CloudRefused:
            known = await self._key(public_key)  # "already in use": somebody uploaded it between our look and now
            if known is None:
                raise
            return known
        return _key(_part(made, "ssh_key"))

    async def drop_key(self, order_id: str, public_key: str) -> None:
        known = await self._key(public_key)
        if known is not None and known.name == tag_of(order_id):
            await self._api.look("DELETE", f"/v2/account/keys/{quote(known.id)}")

    async def _key(self, public_key: str) -> CloudKey | None:
        found = await self._api.look("GET", f"/v2/account/keys/{md5_fingerprint(public_key)}")
        return None if found is None else _key(_part(found, "ssh_key"))

    # volumes ---------------------------------------------------------------------------------------------

    async def make_volume(self, order_id: str) -> Volume:
        known = await self.volumes(order_id)
        if known:
            return known[0]
        body = {
            "name": name_of(order_id),
            "region": self._choice.region,
            "size_gigabytes": self._choice.volume_gb,
            "filesystem_type": "ext4",
            "description": "A node of Timmy's",
            "tags": [tag_of(order_id), NODE_TAG],
        }
        try:
            made = await self._api.ask("POST", "/v2/volumes", body=body)
        except CloudBusy:
            known = await self.volumes(order_id)  # 409: the name is taken, by a try of ours whose answer was lost
            if not known:
                raise
            return known[0]
        return _volume(_part(made, "volume"))

    async def volumes(self, order_id: str | None = None) -> list[Volume]:
        if order_id is not None:  # a name is unique in its region, so this finds it whatever became of its tags
            params = {"name": name_of(order_id), "region": self._choice.region}
            return [_volume(one) for one in await self._all("/v2/volumes", "volumes", params)]
        found = await self._all("/v2/volumes", "volumes", {})
        return [_volume(one) for one in found if NODE_TAG in (one.get("tags") or [])]

    async def destroy_volume(self, id: str) -> None:
        await self._api.look("DELETE", f"/v2/volumes/{quote(id)}")

    # machines --------------------------------------------------------------------------------------------

    async def machines(self, order_id: str | None = None) -> list[Machine]:
        if order_id is None:
            return [_machine(one) for one in await self._all("/v2/droplets", "droplets", {"tag_name": NODE_TAG})]
        by_tag = await self._all("/v2/droplets", "droplets", {"tag_name": tag_of(order_id)})
        by_name = await self._all("/v2/droplets", "droplets", {"name": name_of(order_id)})
        found = {machine.id: machine for machine in map(_machine, (*by_name, *by_tag))}
        return [found[id] for id in sorted(found, key=int)]

    async def machine(self, id: str) -> Machine | None:
        found = await self._api.look("GET", f"/v2/droplets/{quote(id)}")
        return None if found is None else _machine(_part(found, "droplet"))

    async def disk_gb(self) -> int:
        if self._choice.volume_gb:
            return self._choice.volume_gb
        if self._disk_gb is None:
            for size in await self._all("/v2/sizes", "sizes", {}):
                if size.get("slug") == self._choice.size and isinstance(size.get("disk"), int):
                    self._disk_gb = size["disk"]
        if self._disk_gb is None:
            raise CloudRefused(f"DigitalOcean sells no machine of the size {self._choice.size}.")
        return self._disk_gb

    async def make_machine(self, wanted: MachineWanted) -> Machine:
        body: Document = {
            "name": name_of(wanted.order_id),
            "region": self._choice.region,
            "size": self._choice.size,
            "image": self._choice.image,
            "ssh_keys": [int(wanted.key_id)],
            "tags": [tag_of(wanted.order_id), NODE_TAG],
            "user_data": wanted.user_data,
            "volumes": [wanted.volume_id] if wanted.volume_id else [],
            "ipv6": True,
            "monitoring": True,
        }
        return _machine(_part(await self._api.ask("POST", "/v2/droplets", body=body), "droplet"))

    async def stop_machine(self, id: str) -> None:
        found = await self.machine(id)
        if found is None:
            raise CloudRefused("DigitalOcean does not have this machine any more.")
        if found.status is not Status.OFF:
            await self._api.ask("POST", f"/v2/droplets/{quote(id)}/actions", body={"type": "power_off"})

    async def destroy_machine(self, id: str) -> None:
        await self._api.look("DELETE", f"/v2/droplets/{quote(id)}")

    # the private network ---------------------------------------------------------------------------------

    async def make_join_key(self, order_id: str) -> JoinKey | None:
        if self._tailnet is None:
            return None
        await self._tailnet.drop_keys(order_id)
        return await self._tailnet.make_key(order_id)

    async def drop_join_keys(self, order_id: str) -> None:
        if self._tailnet is not None:
            await self._tailnet.drop_keys(order_id)

    async def drop_devices(self, order_id: str) -> None:
        if self._tailnet is not None:
            await self._tailnet.drop_devices(order_id)

    async def _all(self, path: str, what: str, params: dict[str, str]) -> list[Document]:
        """Every page of a list: half a list would be a machine that nobody finds."""
        found: list[Document] = []
        for page in range(1, PAGES_MAX + 1):
            answer = await self._api.ask("GET", path, params={**params, "page": str(page), "per_page": str(PER_PAGE)})
            entries = answer.get(what)
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise CloudDown(f"DigitalOcean's list of {what} is not one.")
            found += entries
            pages = (answer.get("links") or {}).get("pages") or {}
            if not pages.get("next"):
                return found
        raise CloudDown(f"DigitalOcean's list of {what} has no end.")


def _part(document: Document, name: str) -> Document:
    part = document.get(name)
    if not isinstance(part, dict) or "id" not in part:
        raise CloudDown(f"DigitalOcean's answer has no {name}.")
    return part


def _key(one: Document) -> CloudKey:
    return CloudKey(str(one["id"]), str(one.get("name", "")))


def _volume(one: Document) -> Volume:
    return Volume(str(one["id"]), str(one.get("name", "")), bool(one.get("droplet_ids")))


def _machine(one: Document) -> Machine:
    networks: Any = (one.get("networks") or {}).get("v4") or []
    addresses = [network["ip_address"] for network in networks if network.get("type") == "public" and network.get("ip_address")]
    status = STATUSES.get(str(one.get("status")), Status.NEW)
    return Machine(str(one["id"]), status, addresses[0] if addresses else None, tuple(map(str, one.get("tags") or [])))
