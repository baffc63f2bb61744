"""LiteLLM's key and spend tracking as far as it runs without its database: its hooks for both, on dictionaries.

LiteLLM loads this file from beside its configuration. Keys are checked by its `custom_auth`, with a budget for each; what a call costs is
worked out by LiteLLM from the prices in its configuration, and told to a logger of the usual kind, which adds it up.
"""

from __future__ import annotations

import os
from typing import Any

from fastapi import Request
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import UserAPIKeyAuth

BUDGET_DOLLARS = 1_000_000.0
spent_dollars: dict[str, float] = dict.fromkeys(os.environ["BENCH_KEYS"].split(","), 0.0)


async def check(_request: Request, api_key: str) -> UserAPIKeyAuth:
    spent = spent_dollars.get(api_key)
    if spent is None or spent >= BUDGET_DOLLARS:
        raise PermissionError("This key is not known, or has spent its budget.")
    return UserAPIKeyAuth(api_key=api_key, spend=spent, max_budget=BUDGET_DOLLARS)


class Spend(CustomLogger):  # type: ignore[misc]  # it is there only in the rivals' venv
    async def async_log_success_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        key = kwargs["litellm_params"]["metadata"]["user_api_key"]
        spent_dollars[key] = spent_dollars.get(key, 0.0) + (kwargs.get("response_cost") or 0.0)


spend = Spend()
