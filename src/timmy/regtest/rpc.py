"""JSON-RPC over HTTP with a password, as bitcoind and Electrum speak it. Blocking, for threads; amounts stay exact."""

from __future__ import annotations

import base64
import http.client
import json
from decimal import Decimal
from typing import Any

ANSWER_SECONDS_MAX = 150.0  # Electrum's `lnpay` answers when the payment has ended


class RpcRefused(Exception):
    """The node understood the call and will not do it."""


class Rpc:
    """One node's interface on 127.0.0.1. Raises `RpcRefused`, or an OSError when nobody answers."""

    def __init__(self, port: int, *, user: str, password: str) -> None:
        self.port = port
        self._authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def __repr__(self) -> str:
        return f"Rpc({self.port})"

    def __call__(self, method: str, *positional: object, **named: object) -> Any:
        asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": named or list(positional)})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS_MAX)
        try:
            connection.request("POST", "/", asked, {"Content-Type": "application/json", "Authorization": self._authorization})
            response = connection.getresponse()
            text = response.read()
        except http.client.HTTPException as problem:
            raise ConnectionError(f"{method}: no complete answer ({type(problem).__name__})") from None
        finally:
            connection.close()
        try:
            answer = json.loads(text, parse_float=Decimal)
        except ValueError:
            raise RpcRefused(f"{method}: HTTP {response.status}") from None
        if error := answer.get("error"):
            raise RpcRefused(f"{method}: {(error.get('data') or {}).get('exception') or error.get('message')}")
        return answer["result"]
