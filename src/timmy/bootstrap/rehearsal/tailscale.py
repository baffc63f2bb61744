"""Tailscale's API as it is rehearsed: auth keys, and the devices that came in with them."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from aiohttp import web

from timmy.bootstrap.rehearsal.shelf import Things

if TYPE_CHECKING:
    from timmy.bootstrap.rehearsal.server import RehearsalCloud

KEYS = "/tailscale/api/v2/tailnet/{tailnet}/keys"
DEVICES = "/tailscale/api/v2/tailnet/{tailnet}/devices"
DESCRIPTION = re.compile(r"[A-Za-z0-9 -]{0,50}")
EXPIRY_SECONDS_MAX = 90 * 86_400


class Tailnet:
    def __init__(self, cloud: RehearsalCloud) -> None:
        self._cloud = cloud

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        create = body.get("capabilities", {}).get("devices", {}).get("create", {})
        if not create.get("tags") or not all(str(tag).startswith("tag:") for tag in create["tags"]):
            return _refused(400, "requested tags [] are invalid or not permitted")
        if not DESCRIPTION.fullmatch(body.get("description", "")):
            return _refused(400, "description must be at most 50 letters, digits, hyphens and spaces")
        if not 0 <= int(body.get("expirySeconds", 0)) <= EXPIRY_SECONDS_MAX:
            return _refused(400, "expirySeconds is out of range")
        id = "k" + secrets.token_hex(8)
        key = {
            "id": id,
            "key": f"tskey-auth-{id}-{secrets.token_hex(16)}",
            "description": body.get("description", ""),
            "capabilities": body["capabilities"],
            "used_by": None,
        }
        self._cloud.shelf.change(lambda things: things["join_keys"].update({id: key}))
        return web.json_response({name: value for name, value in key.items() if name != "used_by"})

    async def list(self, request: web.Request) -> web.Response:
        def look(things: Things) -> list[dict[str, Any]]:
            return [_shown(key) for key in things["join_keys"].values()]

        return web.json_response({"keys": self._cloud.shelf.change(look)})

    async def show(self, request: web.Request) -> web.Response:
        key = self._cloud.shelf.change(lambda things: things["join_keys"].get(request.match_info["id"]))
        return _refused(404, "not found") if key is None else web.json_response(_shown(key))

    async def delete(self, request: web.Request) -> web.Response:
        gone = self._cloud.shelf.change(lambda things: things["join_keys"].pop(request.match_info["id"], None))
        return _refused(404, "not found") if gone is None else web.json_response(None)

    async def devices(self, request: web.Request) -> web.Response:
        def look(things: Things) -> list[dict[str, Any]]:
            return list(things.get("devices", {}).values())

        return web.json_response({"devices": self._cloud.shelf.change(look)})

    async def delete_device(self, request: web.Request) -> web.Response:
        gone = self._cloud.shelf.change(lambda things: things.get("devices", {}).pop(request.match_info["id"], None))
        return _refused(404, "not found") if gone is None else web.json_response(None)


def routes(app: web.Application, cloud: RehearsalCloud) -> None:
    tailnet = Tailnet(cloud)
    app.router.add_post(KEYS, tailnet.create)
    app.router.add_get(KEYS, tailnet.list)
    app.router.add_get(KEYS + "/{id}", tailnet.show)
    app.router.add_delete(KEYS + "/{id}", tailnet.delete)
    app.router.add_get(DEVICES, tailnet.devices)
    app.router.add_delete("/tailscale/api/v2/device/{id}", tailnet.delete_device)


def _shown(key: dict[str, Any]) -> dict[str, Any]:
    """Its secret is told once, when it is made. A used key that lets in one is invalid."""
    return {"id": key["id"], "description": key["description"], "capabilities": key["capabilities"], "invalid": key["used_by"] is not None}


def _refused(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
