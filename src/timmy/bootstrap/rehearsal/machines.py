"""The machines that are played: they read their own user data, as cloud-init would, join the network, and call home."""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from dataclasses import dataclass, field

import aiohttp

from timmy.bootstrap.rehearsal.shelf import Things

BASE64_FILE = re.compile(r"^    content: ([A-Za-z0-9+/=]{16,})$", re.MULTILINE)
ASSIGNMENT = re.compile(r"^(NODE_[A-Z_]+)=(.*)$", re.MULTILINE)
NETWORK_NAME = "rehearsal.ts.net"


@dataclass(frozen=True, slots=True)
class Call:
    droplet_id: str
    url: str
    token: str = field(repr=False)
    report: dict[str, object] = field(default_factory=dict)


def due_calls(things: Things, now: float, install_seconds: float) -> list[Call]:
    """Of the machines that are installed by now, and have not been heard. Each uses its join key up."""
    calls = []
    for id, droplet in things["droplets"].items():
        if droplet.get("called") or not droplet["active_at"] or now < droplet["active_at"] + install_seconds:
            continue
        given = settings_in(droplet["user_data"])
        if "NODE_CALL_HOME_URL" not in given:
            droplet["called"] = True
            continue
        name = _join(things, id, given)
        report: dict[str, object] = {
            "state": "ready",
            "hostname": given.get("NODE_HOSTNAME", ""),
            "network": given.get("NODE_NETWORK", ""),
            "tailscaleName": name,
            "lnbitsUrl": f"http://{name or '127.0.0.1'}:5000",
            "bitcoin": {"blocks": 0, "headers": 0, "pruned": True},
            "lnd": {"version": "rehearsal", "publicKey": "02" + "00" * 32, "syncedToChain": False},
        }
        calls.append(Call(id, given["NODE_CALL_HOME_URL"], given["NODE_CALL_HOME_TOKEN"], report))
    return calls


def _join(things: Things, id: str, given: dict[str, str]) -> str | None:
    """A key lets in one machine, once: a second one with the same key stays outside."""
    key = next((key for key in things["join_keys"].values() if given.get("NODE_TAILSCALE_KEY") == key["key"]), None)
    if key is None or key["used_by"] not in (None, id):
        return None
    key["used_by"] = id
    hostname = given.get("NODE_HOSTNAME", "node")
    things.setdefault("devices", {})[id] = {"id": id, "hostname": hostname, "name": f"{hostname}.{NETWORK_NAME}"}
    return f"{hostname}.{NETWORK_NAME}"


def settings_in(user_data: str) -> dict[str, str]:
    """The shell assignments in a document of cloud-init: as they stand, or in a file that travels in base64."""
    texts = [user_data]
    for packed in BASE64_FILE.findall(user_data):
        try:
            texts.append(base64.b64decode(packed, validate=True).decode())
        except (binascii.Error, UnicodeDecodeError):
            continue
    return {name: "".join(shlex.split(value)) for text in texts for name, value in ASSIGNMENT.findall(text)}


async def call_home(http: aiohttp.ClientSession, call: Call) -> int:
    async with http.post(call.url, json=call.report, headers={"Authorization": f"Bearer {call.token}"}) as answer:
        return answer.status
