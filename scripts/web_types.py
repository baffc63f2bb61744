"""Write web/src/generated/*.d.ts: what the server says, as the pages' types.

Made from docs/reference/openapi.json and docs/reference/websocket.json. With --check nothing is written, and a file that is not what it
would be is an error: a page can then not be built against answers that the server no longer gives.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
GENERATED = ROOT / "web" / "src" / "generated"
# What is generated, from which document, and where in it the shapes are.
PAGES = (("api.d.ts", "openapi.json", ("components", "schemas")), ("socket.d.ts", "websocket.json", ("$defs",)))
HEAD = "/* Made by scripts/web_types.py from docs/reference/{source}: edit neither, `./run docs` writes them. */\n"
NAME = re.compile(r"[A-Za-z_$][\w$]*")
PRIMITIVES = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}

Schema = dict[str, Any]


def render(source: str, within: tuple[str, ...]) -> str:
    shapes: Any = json.loads((REFERENCE / source).read_text("utf-8"))
    for step in within:
        shapes = shapes[step]
    return HEAD.format(source=source) + "".join(declared(name, schema) for name, schema in sorted(shapes.items()))


def declared(name: str, schema: Schema) -> str:
    about = "\n" + comment(schema["description"], "") if "description" in schema else "\n"
    if schema.get("properties") and "oneOf" not in schema:
        return f"{about}export interface {name} {members(schema, '')}\n"
    return f"{about}export type {name} = {expression(schema, '')};\n"


def members(schema: Schema, indent: str) -> str:
    required = set(schema.get("required", ()))
    lines = ["{"]
    for name, inner in schema["properties"].items():
        if "description" in inner:
            lines.append(comment(inner["description"], indent + "  ").rstrip("\n"))
        key = name if NAME.fullmatch(name) else json.dumps(name)
        lines.append(f"{indent}  {key}{'' if name in required else '?'}: {expression(inner, indent + '  ')};")
    return "\n".join([*lines, indent + "}"])


def expression(schema: Schema, indent: str) -> str:
    """A schema as a type. What TypeScript cannot say (lengths, patterns, ranges) is left to the server."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if "enum" in schema:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    for several in ("anyOf", "oneOf"):
        if several in schema and "properties" not in schema:
            return " | ".join(dict.fromkeys(expression(inner, indent) for inner in schema[several]))
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(expression({**schema, "type": one}, indent) for one in kind)
    if kind == "array":
        return f"({expression(schema.get('items', {}), indent)})[]"
    if schema.get("properties"):
        return members(schema, indent)
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"Record<string, {expression(inner, indent) if isinstance(inner, dict) else 'unknown'}>"
    return PRIMITIVES.get(str(kind), "unknown")


def comment(text: str, indent: str) -> str:
    return f"{indent}/** {' '.join(text.split()).replace('*/', '* /')} */\n"


def main() -> None:
    for name, source, within in PAGES:
        page, text = GENERATED / name, render(source, within)
        if "--check" not in sys.argv[1:]:
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(text, "utf-8")
        elif not page.exists() or page.read_text("utf-8") != text:
            raise SystemExit(f"{page.relative_to(ROOT)} is not up to date: ./run docs writes it, and `./run web` builds the pages with it")


if __name__ == "__main__":
    main()
