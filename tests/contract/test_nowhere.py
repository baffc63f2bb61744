"""A wrong address: a page for people, a problem document for programs, and never a 200."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import pytest
from tests.contract.http_desk import World

from timmy.web.nowhere import asks_for_html

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
PROBLEM = "application/problem+json"


@pytest.mark.fault("H10")
@pytest.mark.parametrize("path", ["/nothing-here", "/a/b/c", "/tower/x/", "/assets/none.js", "/apix", "/%3Cscript%3E"])
async def test_a_wrong_address_in_a_browser_is_a_page_that_leads_back(path: str) -> None:
    async with World.build().client() as client:
        answer = await client.get(path, headers={"Accept": CHROMIUM})
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert (answer.headers["cache-control"], answer.headers["vary"]) == ("no-store", "Accept")
        assert answer.headers["x-robots-tag"] == "noindex"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert "<script" not in answer.text.lower()
        links = re.findall(r'href="([^"]*)"', answer.text)
        assert links
        assert all(link.startswith(("./", "../")) for link in links), "right under any prefix"
        for link in links:
            found = await client.get(urljoin(path, link), headers={"Accept": CHROMIUM})
            assert found.status_code == 200, link


async def test_what_is_no_slash_to_a_browser_does_not_lead_up() -> None:
    async with World.build().client() as client:
        page = await client.get("/a%2Fb", headers={"Accept": CHROMIUM})
        assert 'href="./"' in page.text


@pytest.mark.parametrize("path", ["/api/nothing", "/api/ui/nothing", "/v1/nothing", "/api/", "/v1"])
async def test_under_the_interfaces_it_is_always_json(path: str) -> None:
    async with World.build().client() as client:
        answer = await client.get(path, headers={"Accept": CHROMIUM})
        assert answer.status_code == 404
        assert "json" in answer.headers["content-type"]


@pytest.mark.parametrize(
    "accepted", [None, "*/*", "application/json", "application/json, text/html;q=0.5", "text/html;q=0", "text/*", ";;,"]
)
async def test_a_program_gets_a_problem_document(accepted: str | None) -> None:
    async with World.build().client() as client:
        answer = await client.get("/nothing-here", headers={} if accepted is None else {"Accept": accepted})
        assert (answer.status_code, answer.headers["content-type"], answer.headers["vary"]) == (404, PROBLEM, "Accept")
        assert answer.json()["code"] == "route_not_found"


@pytest.mark.parametrize(
    ("accepted", "is_asked"),
    [
        (CHROMIUM, True),
        ("TEXT/HTML", True),
        ("text/html; q=0.5, */*", True),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=x", False),
        ("text/html;q=nan", False),
        ("", False),
        (",,;=", False),
    ],
)
def test_html_is_sent_to_whoever_names_it(accepted: str, is_asked: bool) -> None:
    assert asks_for_html(accepted) is is_asked
