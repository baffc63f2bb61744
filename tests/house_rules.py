"""The rules of a house that is as generous as the settings' defaults: for tests that put jobs together by hand."""

from __future__ import annotations

from timmy.app.house import job_rules
from timmy.settings import Settings

RULES = job_rules(Settings.load({}, dotenv=None))
