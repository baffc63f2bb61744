"""DigitalOcean's API as it is rehearsed: SSH keys, volumes, sizes, droplets."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from timmy.bootstrap.keys import md5_fingerprint
from timmy.bootstrap.rehearsal.faults import hiding_seconds
from timmy.bootstrap.rehearsal.shelf import Things

if TYPE_CHECKING:
    from timmy.bootstrap.rehearsal.server import RehearsalCloud

V2 = "/digitalocean/v2"
REGIONS = ("nyc3", "fra1", "sfo3")
SIZES = {"s-1vcpu-1gb": 25, "s-2vcpu-4gb": 80, "s-4vcpu-8gb": 160, "s-sold-out": 80}
SOLD_OUT = "s-sold-out"
DROPLETS_MAX = 25
USER_DATA_BYTES_MAX = 64 * 1024
VOLUME_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
TAG = re.compile(r"[A-Za-z0-9:_-]{1,255}")

Entry = dict[str, Any]


class Droplets:
    """All of it; each answer is made in one go on the shelf, so that many who ask at once see one order of things."""

    def __init__(self, cloud: RehearsalCloud) -> None:
        self._cloud = cloud

    # keys ----------------------------------------------------------------------------------------------------

    async def create_key(self, request: web.Request) -> web.Response:
        body = await request.json()
        public_key, name = str(body.get("public_key", "")), str(body.get("name", ""))
        if len(public_key.split()) < 2:
            return unprocessable("Key invalid, key should be of the format `type key [comment]`")
        fingerprint = md5_fingerprint(public_key)

        def make(things: Things) -> Entry | None:
            if any(key["fingerprint"] == fingerprint for key in things["ssh_keys"].values()):
                return None
            id = _next(things)
            key = {"id": int(id), "name": name, "public_key": public_key, "fingerprint": fingerprint}
            things["ssh_keys"][id] = key
            return key

        made = self._cloud.shelf.change(make)
        if made is None:
            return unprocessable("SSH Key is already in use on your account")
        return web.json_response({"ssh_key": made}, status=201)

    async def show_key(self, request: web.Request) -> web.Response:
        asked = request.match_info["id"]
        key = self._cloud.shelf.change(lambda things: _key(things, asked))
        return not_found() if key is None else web.json_response({"ssh_key": key})

    async def delete_key(self, request: web.Request) -> web.Response:
        def drop(things: Things) -> bool:
            key = _key(things, request.match_info["id"])
            return key is not None and things["ssh_keys"].pop(str(key["id"]), None) is not None

        return web.Response(status=204) if self._cloud.shelf.change(drop) else not_found()

    # volumes -------------------------------------------------------------------------------------------------

    async def create_volume(self, request: web.Request) -> web.Response:
        body = await request.json()
        name, region = str(body.get("name", "")), body.get("region")
        if not VOLUME_NAME.fullmatch(name) or region not in REGIONS or not 1 <= int(body.get("size_gigabytes", 0)) <= 16_384:
            return unprocessable("invalid volume")

        def make(things: Things) -> Entry | None:
            if any((volume["name"], volume["region"]["slug"]) == (name, region) for volume in things["volumes"].values()):
                return None
            volume = {"id": f"vol-{_next(things)}", "name": name, "region": {"slug": region}, "droplet_ids": []}
            volume |= {"size_gigabytes": body["size_gigabytes"], "tags": body.get("tags") or []}
            things["volumes"][volume["id"]] = volume
            return volume

        made = self._cloud.shelf.change(make)
        if made is None:
            return _json(409, {"id": "conflict", "message": "volume with that name already exists"})
        return web.json_response({"volume": made}, status=201)

    async def list_volumes(self, request: web.Request) -> web.Response:
        wanted = request.query
        volumes = self._cloud.shelf.change(lambda things: list(things["volumes"].values()))
        found = [
            volume
            for volume in volumes
            if wanted.get("name", volume["name"]) == volume["name"]
            and wanted.get("region", volume["region"]["slug"]) == volume["region"]["slug"]
        ]
        return self._page(request, "volumes", found)

    async def delete_volume(self, request: web.Request) -> web.Response:
        def drop(things: Things) -> int:
            volume = things["volumes"].get(request.match_info["id"])
            if volume is None:
                return 404
            if volume["droplet_ids"]:
                return 409
            del things["volumes"][volume["id"]]
            return 204

        match self._cloud.shelf.change(drop):
            case 204:
                return web.Response(status=204)
            case 409:
                return _json(409, {"id": "conflict", "message": "failed to delete the volume: it is attached"})
            case _:
                return not_found()

    # droplets ------------------------------------------------------------------------------------------------

    async def list_sizes(self, request: web.Request) -> web.Response:
        return self._page(request, "sizes", [{"slug": slug, "disk": disk, "available": True} for slug, disk in SIZES.items()])

    async def create_droplet(self, request: web.Request) -> web.Response:
        body = await request.json()
        made = self._cloud.shelf.change(lambda things: self._make(things, body))
        return unprocessable(made) if isinstance(made, str) else web.json_response({"droplet": made, "links": {}}, status=202)

    def _make(self, things: Things, body: Mapping[str, Any]) -> Entry | str:
        wrong = _wrong(things, body)
        if wrong is not None:
            return wrong
        for played in things["droplets"].values():
            if played.get("is_played"):
                played["user_data"] = ""  # read, and much to be kept for ever
        now = self._cloud.now()
        id = _next(things)
        droplet: Entry = {
            "id": int(id),
            "name": body["name"],
            "tags": body.get("tags") or [],
            "user_data": body.get("user_data", ""),
            "active_at": None if self._cloud.never_boot else now + self._cloud.pace.boot_seconds,
            "shows_at": now + hiding_seconds.get(),
            "is_off": False,
        }
        things["droplets"][id] = droplet
        things["made"] += 1
        for volume in body.get("volumes") or []:
            things["volumes"][volume]["droplet_ids"].append(int(id))
        return self._shown(droplet)

    async def list_droplets(self, request: web.Request) -> web.Response:
        tag, name = request.query.get("tag_name"), request.query.get("name")
        if tag is not None and name is not None:
            return unprocessable("tag_name and name cannot be combined")

        def look(things: Things) -> list[Entry]:
            there = [one for one in things["droplets"].values() if one["shows_at"] <= self._cloud.now()]
            return [self._shown(one) for one in there if (tag is None or tag in one["tags"]) and name in (None, one["name"])]

        return self._page(request, "droplets", self._cloud.shelf.change(look))

    async def show_droplet(self, request: web.Request) -> web.Response:
        droplet = self._cloud.shelf.change(lambda things: things["droplets"].get(request.match_info["id"]))
        return not_found() if droplet is None else web.json_response({"droplet": self._shown(droplet)})

    async def delete_droplet(self, request: web.Request) -> web.Response:
        def drop(things: Things) -> bool:
            id = request.match_info["id"]
            for volume in things["volumes"].values():
                volume["droplet_ids"] = [held_by for held_by in volume["droplet_ids"] if str(held_by) != id]
            return things["droplets"].pop(id, None) is not None

        return web.Response(status=204) if self._cloud.shelf.change(drop) else not_found()

    async def act(self, request: web.Request) -> web.Response:
        """Of its actions, the one that is needed: the power goes off."""
        if (await request.json()).get("type") != "power_off":
            return unprocessable("Action type is not rehearsed.")

        def turn_off(things: Things) -> bool:
            droplet = things["droplets"].get(request.match_info["id"])
            if droplet is not None:
                droplet["is_off"] = True
            return droplet is not None

        if not self._cloud.shelf.change(turn_off):
            return not_found()
        return _json(201, {"action": {"id": 1, "type": "power_off", "status": "in-progress"}})

    def _shown(self, droplet: Entry) -> Entry:
        is_active = droplet["active_at"] is not None and self._cloud.now() >= droplet["active_at"]
        # Addresses that are kept for documentation (RFC 5737): nobody is there.
        networks = [{"ip_address": f"203.0.113.{droplet['id'] % 254 + 1}", "type": "public"}] if is_active else []
        private = [{"ip_address": "10.10.0.2", "type": "private"}]
        status = "off" if droplet["is_off"] else "active" if is_active else "new"
        return {
            "id": droplet["id"],
            "name": droplet["name"],
            "status": status,
            "tags": droplet["tags"],
            "networks": {"v4": private + networks, "v6": []},
        }

    def _page(self, request: web.Request, what: str, entries: list[Entry]) -> web.Response:
        page = max(1, int(request.query.get("page", "1")))
        per_page = min(int(request.query.get("per_page", "20")), self._cloud.pace.per_page_max)
        shown = entries[(page - 1) * per_page : page * per_page]
        pages = {"next": str(request.url.update_query(page=page + 1))} if page * per_page < len(entries) else {}
        return web.json_response({what: shown, "links": {"pages": pages}, "meta": {"total": len(entries)}})


def routes(app: web.Application, cloud: RehearsalCloud) -> None:
    droplets = Droplets(cloud)
    table: tuple[tuple[str, str, Callable[[web.Request], Any]], ...] = (
        ("POST", "/account/keys", droplets.create_key),
        ("GET", "/account/keys/{id}", droplets.show_key),
        ("DELETE", "/account/keys/{id}", droplets.delete_key),
        ("POST", "/volumes", droplets.create_volume),
        ("GET", "/volumes", droplets.list_volumes),
        ("DELETE", "/volumes/{id}", droplets.delete_volume),
        ("GET", "/sizes", droplets.list_sizes),
        ("POST", "/droplets", droplets.create_droplet),
        ("GET", "/droplets", droplets.list_droplets),
        ("GET", "/droplets/{id}", droplets.show_droplet),
        ("DELETE", "/droplets/{id}", droplets.delete_droplet),
        ("POST", "/droplets/{id}/actions", droplets.act),
    )
    for method, path, handler in table:
        app.router.add_route(method, V2 + path, handler)


def _wrong(things: Things, body: Mapping[str, Any]) -> str | None:
    """Why no droplet is made, in the words of the real one or nearly so."""
    checks = (
        (not HOST_NAME.fullmatch(str(body.get("name", ""))), "Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)"),
        (body.get("region") not in REGIONS, "Region is not available."),
        (body.get("size") not in SIZES, "Size is not available in this region."),
        (body.get("size") == SOLD_OUT, "Size is not available in this region."),
        (not body.get("image"), "You specified an invalid image for Droplet creation."),
        (len(str(body.get("user_data", "")).encode()) > USER_DATA_BYTES_MAX, "User data must be less than 64KiB."),
        (not all(TAG.fullmatch(tag) for tag in body.get("tags") or []), "Tag name is invalid."),
        (not all(str(key) in things["ssh_keys"] for key in body.get("ssh_keys") or []), "invalid key identifiers for Droplet creation."),
        (not all(volume in things["volumes"] for volume in body.get("volumes") or []), "volume was not found."),
        (len(_unplayed(things)) >= DROPLETS_MAX, "creating this/these droplet(s) will exceed your droplet limit"),
    )
    return next((why for is_wrong, why in checks if is_wrong), None)


def _unplayed(things: Things) -> list[Entry]:
    """Who has called home has played its part. If it counted on, the twenty-sixth order of a development server, and all after it, would
    fail: nobody takes these machines away."""
    return [one for one in things["droplets"].values() if not one.get("is_played")]


def _next(things: Things) -> str:
    things["next"] += 1 + secrets.randbelow(9)
    return str(things["next"])


def _key(things: Things, asked: str) -> Entry | None:
    found = (key for key in things["ssh_keys"].values() if asked in (str(key["id"]), key["fingerprint"]))
    return next(found, None)


def _json(status: int, document: Entry) -> web.Response:
    return web.json_response(document, status=status)


def not_found() -> web.Response:
    return _json(404, {"id": "not_found", "message": "The resource you requested could not be found."})


def unprocessable(message: str) -> web.Response:
    return _json(422, {"id": "unprocessable_entity", "message": message})
