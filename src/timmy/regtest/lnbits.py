"""A real LNbits, installed beside us and started without a browser, with wallets that hold sats.

By default its funding source is LNbits' own FakeWallet: invoices between its wallets are paid in its books, everything around them is real
(HTTP, keys, webhooks, WebSocket, its database). Its invoices carry mainnet's prefix and can be paid nowhere else.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from timmy.regtest.install import Lab
from timmy.regtest.parts import Progress, Step, silent
from timmy.regtest.processes import Leashed, free_ports, until

START_SECONDS = 90.0
ANSWER_SECONDS_MAX = 60.0
FAKE_BACKEND: Mapping[str, str] = {"LNBITS_BACKEND_WALLET_CLASS": "FakeWallet", "FAKE_WALLET_SECRET": "practice"}


class LnbitsRefused(Exception):
    """LNbits answered with an error; the text is its own."""


@dataclass(frozen=True, slots=True)
class Account:
    """A wallet in this LNbits, and how to speak for it."""

    port: int
    wallet_id: str
    admin_key: str = field(repr=False)
    invoice_key: str = field(repr=False)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        return _ask(self.port, method, path, body, {"X-Api-Key": self.admin_key})


class LnbitsServer:
    """`start()`, `open_account()`, `credit()`, `stop()`. Blocks; for threads."""

    def __init__(self, lab: Lab, *, backend: Mapping[str, str] = FAKE_BACKEND, progress: Progress = silent) -> None:
        self._lab, self._backend, self._progress = lab, dict(backend), progress
        self._directory = Path(tempfile.mkdtemp(prefix="timmy-lnbits-"))
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._password, self._first_install_token = secrets.token_hex(16), secrets.token_hex(16)
        self._secret = secrets.token_hex(32)
        self._administrator = ""
        self._process: Leashed | None = None

    def start(self) -> None:
        """Up, with an administrator. `RegtestUnavailable` with the end of its log when it does not come up."""
        self._progress(Step("start", 0, 2, "starting LNbits"))
        packages = next((self._lab.lnbits() / "lib").glob("python3*/site-packages"))
        (self._directory / "lnbits").symlink_to(packages / "lnbits")  # it serves `lnbits/static` relative to where it runs
        self._spawn()
        self._progress(Step("start", 1, 2, "creating the administrator"))
        granted = _ask(
            self.port,
            "PUT",
            "/api/v1/auth/first_install",
            {
                "username": "superuser",
                "password": self._password,
                "password_repeat": self._password,
                "first_install_token": self._first_install_token,
            },
            {},
        )
        self._administrator = granted["access_token"]
        self._progress(Step("start", 2, 2, "LNbits is running"))

    def _spawn(self) -> None:
        command = [str(self._lab.lnbits() / "bin" / "python"), str(self._lab.lnbits() / "bin" / "lnbits")]
        options = ["--host", "127.0.0.1", "--port", str(self.port)]
        log = self._directory / "lnbits.log"
        self._process = Leashed("lnbits", [*command, *options], log=log, env=self._environment(), cwd=self._directory)
        until("LNbits", self._is_up, timeout_seconds=START_SECONDS, process=self._process)

    def kill(self) -> None:
        """kill -9, as by a power cut."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        """Start it again on what it had on disk."""
        self._spawn()

    def stop(self) -> None:
        """Stopped, and its files gone."""
        if self._process is not None:
            self._process.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def open_account(self, name: str, *, sats: int = 0) -> Account:
        """A new user with one wallet that holds `sats`, out of thin air."""
        credentials = {"username": name, "password": self._password, "password_repeat": self._password}
        user = self._administer("POST", "/users/api/v1/user", credentials)
        wallet = self._administer("GET", f"/users/api/v1/user/{user['id']}/wallet")[0]
        account = Account(self.port, wallet["id"], wallet["adminkey"], wallet["inkey"])
        if sats:
            self._administer("PUT", "/users/api/v1/balance", {"id": account.wallet_id, "amount": sats})
        return account

    def _administer(self, method: str, path: str, body: object = None) -> Any:
        return _ask(self.port, method, path, body, {"Authorization": f"Bearer {self._administrator}"})

    def _is_up(self) -> bool | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/api/v1/health")
            return connection.getresponse().status in (200, 307) or None  # 307: to the first install
        except http.client.HTTPException:
            return None
        finally:
            connection.close()

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self._backend,
            "LNBITS_DATA_FOLDER": str(self._directory),
            "LNBITS_EXTENSIONS_PATH": str(self._directory / "extensions"),
            "LNBITS_ADMIN_UI": "true",
            "FIRST_INSTALL_TOKEN": self._first_install_token,
            "AUTH_SECRET_KEY": self._secret,
            "LNBITS_RATE_LIMIT_NO": "1000000",  # its default of 200 a minute is for strangers
            "LNBITS_CALLBACK_URL_RULES": '["http://127\\\\.0\\\\.0\\\\.1(:\\\\d+)?"]',
            "LNBITS_CALLBACK_ALLOW_PRIVATE_IPS": "true",  # else webhooks to this machine are never sent
            "LNBITS_EXCHANGE_RATE_PROVIDERS": "[]",  # else every invoice waits for nine look-ups on the Internet
            "LNBITS_PRICE_AGGREGATOR_ENABLED": "false",
            "LNBITS_EXTENSIONS_MANIFESTS": "[]",
            "LNBITS_WASM_EXTENSIONS_MANIFESTS": "[]",
            "LNBITS_EXTENSIONS_DEFAULT_INSTALL": "",
            "LNBITS_EXTENSIONS_DEACTIVATE_ALL": "true",
            "PYTHONUNBUFFERED": "1",
        }


def _ask(port: int, method: str, path: str, body: object, headers: Mapping[str, str]) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS_MAX)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        answer = json.loads(response.read() or b"null", parse_float=Decimal)
    finally:
        connection.close()
    if response.status >= 400:
        raise LnbitsRefused(f"HTTP {response.status}: {answer.get('detail') if isinstance(answer, dict) else ''}")
    return answer
