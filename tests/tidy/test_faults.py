"""Every fault that a test claims to keep away is a promise on the page, and the page says what is true today."""

from __future__ import annotations

import tomllib

from scripts import faults_page


def test_every_mark_names_a_promise() -> None:
    promises = tomllib.loads(faults_page.DATA.read_text("utf-8"))["promises"]
    assert sorted(set(faults_page.marks()) - set(promises)) == []


def test_the_page_of_faults_is_what_the_marks_say() -> None:
    assert faults_page.PAGE.read_text("utf-8") == faults_page.render(), "./run docs writes it anew"
