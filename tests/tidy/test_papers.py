"""The papers lead somewhere, speak the house's words, and say nothing about the machine they were written on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.tidy.tree import ROOT, text, tracked

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)
# In halves, so that this list does not find itself.
OF_A_MACHINE = re.compile(
    "|".join(
        [
            "/wo" + "rk/",
            "/ro" + "ot/",
            r"/ho" + r"me/[a-z]\w+/",
            r"/Use" + r"rs/\w",
            r"\.\./sha" + "red",
            "index" + "-url",
            r"pypi\." + "org",
            r"npmjs\." + "org",
        ]
    )
)
# The word, where it may stand, and what we say in its place. The glossary says why.
NOT_OUR_WORDS = {
    r"\brhash\b": (("electrum",), "payment hash"),
    r"\bchecking_id\b": (("lnbits",), "payment hash"),
    r"\bfunding source\b": (("lnbits",), "wallet"),
    r"\b(white|black)list": ((), "allow-list, deny-list"),
}


def papers() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def anchors(path: Path) -> set[str]:
    """As the usual hosts make them from headings."""
    plain = (re.sub(r"[`*_]|\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in HEADING.findall(FENCE.sub("", text(path))))
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in plain}


def test_every_link_leads_somewhere() -> None:
    lost = []
    for path in papers():
        for link in LINK.findall(FENCE.sub("", text(path))):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
                lost.append(f"{path.relative_to(ROOT)}: {link}")
    assert lost == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path.suffix != ".md" or not path.exists():
            continue
        reached.add(path)
        links = (link.partition("#")[0] for link in LINK.findall(FENCE.sub("", text(path))) if not re.match(r"[a-z]+:", link))
        waiting += [(path.parent / link).resolve() for link in links if link]
    assert [str(path.relative_to(ROOT)) for path in papers() if path not in reached] == []


def test_every_page_has_one_title() -> None:
    titles = {path: re.findall(r"^# ", FENCE.sub("", text(path)), re.MULTILINE) for path in papers()}
    assert [str(path.relative_to(ROOT)) for path, found in titles.items() if len(found) != 1] == []


def test_nothing_names_the_machine_it_was_written_on() -> None:
    named = []
    for path in tracked():
        for n, line in enumerate(text(path).splitlines(), 1):
            if OF_A_MACHINE.search(line):
                named.append(f"{path.relative_to(ROOT)}:{n}")
    assert named == []


@pytest.mark.parametrize("word", NOT_OUR_WORDS)
def test_one_word_has_one_meaning(word: str) -> None:
    allowed, instead = NOT_OUR_WORDS[word]
    used = []
    for path in tracked():
        if path in (Path(__file__).resolve(), ROOT / "docs" / "glossary.md") or any(part in str(path) for part in allowed):
            continue
        if re.search(word, text(path), re.IGNORECASE):
            used.append(str(path.relative_to(ROOT)))
    assert used == [], f"here it is called: {instead}"


def test_the_first_two_commands_of_the_readme_are_the_demo_and_the_tests() -> None:
    commands = re.findall(r"^    (\./run \w+)", text(ROOT / "README.md"), re.MULTILINE)
    assert commands[:2] == ["./run demo", "./run test"]


def test_figures_about_speed_come_from_a_script() -> None:
    speed = re.compile(r"\b\d[\d,.]*\s*(requests|jobs|payments|transactions|transfers)?\s*(/s\b|per second|a second)", re.IGNORECASE)
    allowed = ROOT / "bench"
    claims = [str(path.relative_to(ROOT)) for path in papers() if not path.is_relative_to(allowed) and speed.search(text(path))]
    assert [claim for claim in claims if "bench/" not in text(ROOT / claim)] == []
