"""Tailscale's API, as far as a new machine needs it: a key that lets one machine in, once, for a while, without asking anybody.

https://tailscale.com/api (keys, devices). A key carries tags, so its machine is nobody's; it is pre-authorized; its secret is told once.
"""

from __future__ import annotations

from urllib.parse import quote

from timmy.bootstrap.cloud import CloudDown, JoinKey, name_of
from timmy.bootstrap.http_api import Api

DESCRIPTION_CHARS_MAX = 50  # letters, digits, hyphens and spaces


class Tailscale:
    def __init__(self, api: Api, *, tailnet: str, tag: str, ttl_seconds: int) -> None:
        """`tailnet`: `-` is that of the token. `tag` must be one that the tailnet's policy lets the token give."""
        self._api = api
        self._keys = f"/api/v2/tailnet/{quote(tailnet, safe='')}/keys"
        self._devices = f"/api/v2/tailnet/{quote(tailnet, safe='')}/devices"
        self._tag = tag
        self._ttl_seconds = ttl_seconds

    async def make_key(self, order_id: str) -> JoinKey:
        """Not to be repeated blindly: each call makes another one."""
        create = {"reusable": False, "ephemeral": False, "preauthorized": True, "tags": [self._tag]}
        body = {
            "capabilities": {"devices": {"create": create}},
            "expirySeconds": self._ttl_seconds,
            "description": _description(order_id),
        }
        made = await self._api.ask("POST", self._keys, body=body)
        id, secret = made.get("id"), made.get("key")
        if not isinstance(id, str) or not isinstance(secret, str) or not id or not secret:
            raise CloudDown("Tailscale made a key and did not tell it.")
        return JoinKey(id, secret)

    async def drop_keys(self, order_id: str) -> None:
        """All that were made for this order, used or not."""
        for id in await self._of_order(order_id):
            await self._api.look("DELETE", f"{self._keys}/{quote(id, safe='')}")

    async def drop_devices(self, order_id: str) -> None:
        """The machines of this order: they are gone, and a device with a tag would stay in the network for ever."""
        for entry in (await self._api.ask("GET", self._devices)).get("devices", []):
            if isinstance(entry, dict) and entry.get("hostname") == name_of(order_id) and isinstance(id := entry.get("id"), str):
                await self._api.look("DELETE", f"/api/v2/device/{quote(id, safe='')}")

    async def _of_order(self, order_id: str) -> list[str]:
        found = []
        for entry in (await self._api.ask("GET", self._keys, params={"all": "true"})).get("keys", []):
            if not isinstance(entry, dict) or not isinstance(id := entry.get("id"), str):
                continue
            # The list may name its keys by id alone; then each is asked what it is for.
            known = entry if "description" in entry else await self._api.look("GET", f"{self._keys}/{quote(id, safe='')}") or {}
            if known.get("description") == _description(order_id):
                found.append(id)
        return found

    async def aclose(self) -> None:
        await self._api.aclose()


def _description(order_id: str) -> str:
    return name_of(order_id)[:DESCRIPTION_CHARS_MAX]
