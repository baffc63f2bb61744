"""The OpenAPI document as a page for people. No script and nothing from another host: it works offline and under a strict policy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from html import escape
from typing import Any

from timmy.errors import TimmyError

Document = dict[str, Any]


def body(document: Document, errors: Iterable[type[TimmyError]]) -> str:
    info = document["info"]
    return "".join(
        (
            f"<h1>{escape(info['title'])}: HTTP interface</h1>",
            f"<p>{escape(info['summary'])} Version {escape(info['version'])}. ",
            '<a href="/api/openapi.json">As OpenAPI</a>.</p>',
            prose(info["description"]),
            _contents(document),
            *(_operation(path, method, one) for path, methods in document["paths"].items() for method, one in methods.items()),
            "<h2 id=shapes>Shapes</h2>",
            *(_shape(name, schema) for name, schema in document["components"]["schemas"].items()),
            "<h2 id=errors>Errors</h2>",
            _errors(errors),
        )
    )


def prose(markdown: str) -> str:
    """The little Markdown that our own descriptions use: paragraphs, numbered lists, `code` and **bold**."""
    blocks = []
    for block in markdown.strip().split("\n\n"):
        lines = block.split("\n")
        if all(re.match(r"\d+\. ", line) for line in lines):
            blocks.append("<ol>" + "".join(f"<li>{_inline(line.partition(' ')[2])}</li>" for line in lines) + "</ol>")
        else:
            blocks.append(f"<p>{_inline(block)}</p>")
    return "".join(blocks)


def _inline(text: str) -> str:
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)


def _contents(document: Document) -> str:
    rows = "".join(
        f'<tr><td><a href="#{escape(one["operationId"])}"><span class=method>{method.upper()}</span> <code>{escape(path)}</code></a></td>'
        f"<td>{escape(one['summary'])}</td></tr>"
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    )
    return f"<table tabindex=0>{rows}</table>"


def _operation(path: str, method: str, one: Document) -> str:
    parts = [
        f'<h2 id="{escape(one["operationId"])}"><span class=method>{method.upper()}</span> <code>{escape(path)}</code></h2>',
        f"<p><strong>{escape(one['summary'])}.</strong></p>",
        prose(one["description"]),
    ]
    if "parameters" in one:
        rows = "".join(
            f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(p['in'])}</td><td>{_inline(p['description'])}</td></tr>"
            for p in one["parameters"]
        )
        parts.append(f"<table tabindex=0>{rows}</table>")
    for media_type, content in one.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<h3>Body <code>{escape(media_type)}</code>: {_reference(content['schema'])}</h3>")
        parts += [_pre(example["value"]) for example in content["examples"].values()]
    parts.append("<h3>Answers</h3>")
    parts += [_answer(status, answer) for status, answer in one["responses"].items()]
    return "".join(parts)


def _answer(status: str, answer: Document) -> str:
    contents = answer.get("content", {})
    shapes = ", ".join(f"<code>{escape(kind)}</code> {_reference(content['schema'])}" for kind, content in contents.items())
    examples = "".join(_pre(content["example"]) for content in contents.values() if "example" in content)
    told = f"<strong>{escape(status)}</strong> {_inline(answer['description'])}"
    if not examples:
        return f"<p>{told} {shapes}</p>"
    # The link stands below: within a summary, which is pressed itself, it would be neither heard nor reached by all.
    return f"<details><summary>{told}</summary><p>{shapes}</p>{examples}</details>"


def _shape(name: str, schema: Document) -> str:
    heading = f'<h3 id="shape-{escape(name)}">{escape(name)}</h3>{prose(schema["description"]) if "description" in schema else ""}'
    if "enum" in schema:
        return heading + "<p>" + ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"]) + "</p>"
    required = schema.get("required", [])
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code></td><td>{_type(inner)}{'' if field in required else ', optional'}</td>"
        f"<td>{_inline(inner.get('description', ''))}</td></tr>"
        for field, inner in schema.get("properties", {}).items()
    )
    return f"{heading}<table tabindex=0>{rows}</table>"


def _type(schema: Document) -> str:
    if "$ref" in schema:
        return _reference(schema)
    if "anyOf" in schema:
        return " or ".join(_type(inner) for inner in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if "additionalProperties" in schema and isinstance(schema["additionalProperties"], dict):
        return f"name → {_type(schema['additionalProperties'])}"
    limits = [f"{word} {schema[key]}" for key, word in LIMITS.items() if key in schema]
    return escape(", ".join((str(schema.get("format", schema.get("type", "anything"))), *limits)))


LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "maxLength": "up to"}


def _reference(schema: Document) -> str:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return f'<a href="#shape-{escape(name)}">{escape(name)}</a>' if name else ""


def _pre(example: object) -> str:
    # With a place in the order of the keys: what is wider than the screen is scrolled to with them.
    return f"<pre tabindex=0><code>{escape(json.dumps(example, indent=2, ensure_ascii=False))}</code></pre>"


def _errors(errors: Iterable[type[TimmyError]]) -> str:
    rows = "".join(
        f'<tr id="error-{escape(kind.code)}"><td><code>{escape(kind.code)}</code></td>'
        f"<td>{kind.status}</td><td>{escape(kind.title)}</td></tr>"
        for kind in sorted({one.code: one for one in errors}.values(), key=lambda one: one.code)
    )
    return f"<table tabindex=0><tr><th>code</th><th>status</th><th>what it means</th></tr>{rows}</table>"
