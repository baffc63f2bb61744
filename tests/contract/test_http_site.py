"""The built pages over HTTP: small, kept where they may be, under a strict policy, and loudly absent when they were not built."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from scripts import web_types
from structlog.testing import capture_logs
from tests.contract.http_desk import World

from timmy.web import building
from timmy.web.site import best_coding

PAGES = {
    "index.html": b"<!doctype html><title>the landing page</title>",
    "tower.html": b"<!doctype html><title>the workshop</title>",
    "assets/tower-abc123.js": b"console.log('hello')",
    "assets/tower-abc123.js.gz": gzip.compress(b"console.log('hello')"),
    "assets/tower-abc123.js.br": b"as brotli has it",
    "assets/tower-def456.css": b"body{}",
    "manifest.json": b"{}",
    building.STAMP: b"of its sources",
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    for name, content in PAGES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    world = World.build()
    world.house.built_pages = tmp_path
    return world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client() as client:
        yield client


async def test_the_pages_are_asked_for_each_time_and_their_files_never_again(client: httpx.AsyncClient) -> None:
    for path in ("/", "/tower"):
        page = await client.get(path)
        assert page.headers["cache-control"] == "no-cache"
        again = await client.get(path, headers={"If-None-Match": page.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await client.get(path, headers={"If-None-Match": '"another"'})).status_code == 200
    script = await client.get("/assets/tower-abc123.js")
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize("path", ["/", "/tower"])
async def test_nothing_but_our_own_scripts_runs_in_a_page(client: httpx.AsyncClient, path: str) -> None:
    policy = (await client.get(path)).headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert (rules["script-src"], rules["style-src"], rules["connect-src"]) == ("'self'", "'self'", "'self'")
    assert (rules["require-trusted-types-for"], rules["trusted-types"]) == ("'script'", "dompurify")
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("br;q=0, gzip", "gzip"),
        ("gzip;q=0.5", "gzip"),
        ("*", "br"),
        ("*;q=0", ""),
        ("identity", ""),
        ("", ""),
        ("BR", "br"),
        ("gzip;q=0.0, *;q=0", ""),
    ],
)
async def test_a_file_comes_as_small_as_the_client_takes_it(client: httpx.AsyncClient, accepted: str, coding: str) -> None:
    offered = {"": b"", "br": b"", "gzip": b""}
    assert best_coding(accepted, offered) == coding
    async with client.stream("GET", "/assets/tower-abc123.js", headers={"Accept-Encoding": accepted}) as answer:
        sent = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers.get("content-encoding", "") == coding
    assert "Accept-Encoding" in answer.headers["vary"]
    ending = {"br": ".br", "gzip": ".gz", "": ""}[coding]
    assert sent == PAGES[f"assets/tower-abc123.js{ending}"]


@pytest.mark.fault("H10")
@pytest.mark.parametrize(
    "name", ["none.js", "../index.html", "..%2findex.html", "%2e%2e/manifest.json", "tower-abc123.js.gz", ".fingerprint", ""]
)
async def test_only_files_of_the_build_can_be_had(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/assets/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_slash_too_many_leads_to_the_workshop_under_any_prefix(client: httpx.AsyncClient) -> None:
    answer = await client.get("/tower/", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.headers["location"]) == (302, "../tower")


async def test_pages_that_were_not_built_are_loudly_plain() -> None:
    world = World.build()
    world.house.built_pages = Path("nowhere")
    with capture_logs() as logged:
        client = world.client()
    assert [line["log_level"] for line in logged if "were not built" in line["event"]] == ["error"]
    async with client:
        for path in ("/", "/tower"):
            page = await client.get(path)
            assert page.status_code == 200
            assert "<script" not in page.text
            assert "/api/docs" in page.text


async def test_a_page_learns_what_it_may_offer(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/site")).json()["developmentRoutes"] is True
    async with World.build(dev=False).client() as real:
        facts = (await real.get("/api/site")).json()
    assert facts["developmentRoutes"] is False
    assert facts["sessionMinSats"] <= facts["sessionMaxSats"]


# What is committed ----------------------------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[2]


def built(*endings: str) -> list[Path]:
    return [path for path in building.BUILT.rglob("*") if path.suffix in endings]


def test_the_committed_pages_were_made_from_the_sources_beside_them() -> None:
    assert building.is_fresh(building.sources(ROOT)), "`./run web` builds them; commit what it changes"


def test_the_committed_pages_are_whole() -> None:
    """A build gives its files new names, and what is new has to be added to the commit."""
    manifest = json.loads((building.BUILT / "manifest.json").read_text("utf-8"))
    named = {name for chunk in manifest.values() for name in (chunk["file"], *chunk.get("css", ()))}
    assert {name for name in named if not (building.BUILT / name).is_file()} == set()
    known = subprocess.run(["git", "ls-files", "--others", "."], cwd=building.BUILT, capture_output=True, text=True, check=False).stdout
    assert known.split() == [], "`git add` them"


def test_no_page_names_another_host_or_a_place_of_its_own() -> None:
    foreign = re.compile(rb"""(src|href)=["'](https?:)?//|url\(["']?https?:|@import""")
    rooted = re.compile(rb"""(src|href)=["']/""")
    for path in built(".html", ".css"):
        assert not foreign.search(path.read_bytes()), path
        assert not rooted.search(path.read_bytes()), path
        assert b"style=" not in path.read_bytes(), "the policy forbids it"


def test_what_is_compressed_is_what_it_stands_for() -> None:
    packed = built(".gz")
    assert packed
    for path in packed:
        assert gzip.decompress(path.read_bytes()) == path.with_suffix("").read_bytes()
        assert path.with_suffix(".br").is_file()


Size = Callable[[str], int]


@pytest.fixture
def size_of() -> Size:
    """Bytes of JavaScript, compressed, that an entry of the manifest loads before it asks for anything else."""
    manifest = json.loads((building.BUILT / "manifest.json").read_text("utf-8"))

    def size_of(entry: str) -> int:
        seen, waiting, total = set(), [entry], 0
        while waiting:
            chunk = manifest[waiting.pop()]
            if chunk["file"] in seen:
                continue
            seen.add(chunk["file"])
            total += len(gzip.compress((building.BUILT / chunk["file"]).read_bytes(), 9))
            waiting += chunk.get("imports", [])
        return total

    return size_of


@pytest.mark.parametrize(
    ("entry", "bytes_max"),
    [("index.html", 5_000), ("tower.html", 20_000), ("src/world/scene.ts", 150_000), ("src/tower/markdown.ts", 32_000)],
)
def test_a_page_stays_within_its_budget_of_bytes(size_of: Size, entry: str, bytes_max: int) -> None:
    assert size_of(entry) <= bytes_max


def test_the_pages_are_written_against_what_the_server_says() -> None:
    for name, source, within in web_types.PAGES:
        assert (web_types.GENERATED / name).read_text("utf-8") == web_types.render(source, within), "`./run docs` writes them"
