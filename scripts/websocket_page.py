"""Write docs/reference/websocket.json and websocket.md: the messages of /api/ws, from the shapes that tests hold them against.

With --check nothing is written, and a file that is not what it would be is an error.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from timmy.web import sockets
from timmy.world import crowd, shapes

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "reference" / "websocket.json"
PAGE = ROOT / "docs" / "reference" / "websocket.md"

HEAD = f"""<!-- Made by scripts/websocket_page.py: do not edit. -->

# The WebSocket of the world

`/api/ws` tells everybody what happens in the house. Each message is one text frame with a JSON object that has a `type`; as JSON Schema:
[websocket.json](websocket.json). The first message is the whole state (the same as `GET /api/world/state`), after every reconnect too; what
follows changes it. Nothing in it is anybody's own: no id, no payment hash, no request, no answer, no address, no key.

A page may connect if its origin is this server's own or stands in `CORS_ORIGINS`; other origins get 403. Programs, which send no `Origin`,
may always. There is no compression: messages are small, and the same bytes go to everyone.

Limits: a message has at most {sockets.MESSAGE_BYTES_MAX:,} bytes. {crowd.FRAMES_AT_ONCE} may come at once, and
{crowd.FRAMES_PER_SECOND} more in each second; of what is said to all, {crowd.WORDS_AT_ONCE} and {crowd.WORDS_PER_SECOND}, from one
address {crowd.ADDRESS_AT_ONCE} and {crowd.ADDRESS_PER_SECOND}, and from everybody
together {crowd.ALL_AT_ONCE} and {crowd.ALL_PER_SECOND}. Beyond that comes an `error`,
and who does not stop is closed. How many connections there may be, and how often Timmy answers, is set by `VIEWERS_MAX`,
`VIEWERS_PER_ADDRESS`, `CHAT_PER_MINUTE` and `CHAT_PER_DAY` ([settings](settings.md)).

| close code | means |
|---|---|
| 1001 | the server is stopping: come back in a moment |
| 1008 | too many messages, or too many connections from one address |
| 1009 | a message was too large |
| 1013 | too many visitors, or the database is away: come back later |

A reader that takes nothing is let go without a word, once {sockets.UNSENT_BYTES_MAX // 1024} KiB wait for it, and the slowest first where
{sockets.ALL_UNSENT_BYTES_MAX // 1024 // 1024} MiB wait for all of them together; so is one that sends nothing for
{sockets.PING_SECONDS:.0f} seconds and then does not answer a ping for {sockets.PONG_SECONDS:.0f}.
"""


def render_document() -> str:
    return json.dumps(shapes.document(), indent=2, ensure_ascii=False) + "\n"


def render() -> str:
    found = shapes.document()["$defs"]
    parts = [HEAD]
    for title, models in (("Sent to visitors", shapes.FROM_SERVER), ("Sent by visitors", shapes.FROM_VISITOR)):
        parts.append(f"## {title}\n")
        parts += [_message(found[model.__name__]) for model in models]
    return "\n".join(parts)


def _message(shape: dict[str, Any]) -> str:
    lines = [f"### {shape['properties']['type']['const']}\n"]
    if "description" in shape:
        lines.append(" ".join(shape["description"].split()) + "\n")
    lines += ["| member | | |", "|---|---|---|"]
    required = shape.get("required", [])
    for name, member in shape["properties"].items():
        if name != "type":
            lines.append(f"| `{name}` | {_kind(member)}{'' if name in required else ', may be absent'} | {member.get('description', '')} |")
    return "\n".join([*lines, ""])


def _kind(member: dict[str, Any]) -> str:
    if "$ref" in member:
        return str(member["$ref"]).rpartition("/")[2]
    if "enum" in member:
        return ", ".join(f"`{value}`" for value in member["enum"])
    if "const" in member:
        return f"`{json.dumps(member['const'])}`"
    if member.get("type") == "array":
        items = member["items"]
        return "list of " + (" or ".join(_kind(each) for each in items["anyOf"]) if "anyOf" in items else _kind(items))
    return str(member.get("format", member.get("type", "any")))


def main() -> None:
    for path, text in ((DOCUMENT, render_document()), (PAGE, render())):
        if "--check" not in sys.argv[1:]:
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            raise SystemExit(f"{path.relative_to(ROOT)} is not up to date: ./run docs writes it")


if __name__ == "__main__":
    main()
