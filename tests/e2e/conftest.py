"""What several files here begin with: a server, and the notebook or the terminal of somebody who buys from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.buyers_terminal import Buyer
from tests.e2e.serving import Site, serving
from timmy.client import Notebook
from timmy.demo.server import Server, start_server


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with serving({"DATA_DIR": str(tmp_path / "server")}) as running:
        yield running


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "buyer" / "notebook.sqlite")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def timmy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with start_server(tmp_path_factory.mktemp("server"), {}) as running:
        yield running


@pytest.fixture
def buyer(timmy: Server, tmp_path: Path) -> Buyer:
    return Buyer(timmy, tmp_path / "home")
