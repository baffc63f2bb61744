"""How an LND is asked over REST: its certificate, its macaroon, its answers, its streams, and its many ways to say no.

Read in LND's `*.yaml`, `*.proto`, `rpcperms/interceptor.go` and in the source of grpc-gateway, which turns gRPC into HTTP:

- A no is `{"code", "message", "details"}`, of a stream `{"error": {…}}`, with the HTTP status that goes with gRPC's code. Most of LND's own
  are code 2 (HTTP 500) and told apart by their words only.
- Asked for a path that it does not know, the gateway says code 5, too: `Not Found`. So that code alone says nothing of a payment.
- A stream is one JSON object a line. Not even its HTTP headers come before the first of them.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import aiohttp
from yarl import URL

from timmy.lightning.wallets.calls import Answer, JsonCalls, NoAnswer, NotSent
from timmy.lightning.wallets.facts import printable
from timmy.lightning.wallets.lnd_macaroon import COMMAND
from timmy.lightning.wallets.protocol import WalletDown

FRAME_BYTES_MAX = 4 * 1024 * 1024  # a payment with all its attempts is one line
REASON_CHARS_MAX = 200
NOT_FOUND, UNIMPLEMENTED = 5, 12  # gRPC's codes
# Before it looks at what is asked, LND looks at its own state, then at the macaroon.
CLOSED = re.compile(r"wallet locked|wallet not created|waiting to start|starting up|process of starting|unknown service", re.IGNORECASE)
NOT_ALLOWED = re.compile(r"macaroon|permission denied|verification failed|caveat", re.IGNORECASE)
NO_SUCH_PATH = ("Not Found", "Method Not Allowed", "Not Implemented")  # the gateway's own words


class Refused(Exception):
    """It was understood, and the answer is no. `code`: gRPC's, None when it was no LND that answered; the text is theirs."""

    def __init__(self, status: int, code: int | None, words: str) -> None:
        super().__init__(words)
        self.status, self.code, self.words = status, code, words

    @classmethod
    def of(cls, status: int, body: object) -> Refused:
        """From what came: the gateway's form today, its form for streams, and that of its first version."""
        body = body.get("error", body) if isinstance(body, dict) and isinstance(body.get("error", body), dict) else body
        found = body if isinstance(body, dict) else {}
        code, words = found.get("code", found.get("grpc_code")), found.get("message")
        return cls(status, code if type(code) is int else None, printable(words, REASON_CHARS_MAX) if isinstance(words, str) else "")

    @property
    def turned_away(self) -> bool:
        """Refused at the door: what was asked has not been looked at."""
        return bool(self.code is not None and (CLOSED.search(self.words) or NOT_ALLOWED.search(self.words))) or self.no_such_path

    @property
    def no_such_path(self) -> bool:
        return self.code in (NOT_FOUND, UNIMPLEMENTED) and self.words in NO_SUCH_PATH

    def down(self, wallet: object) -> WalletDown:
        """What the operator reads."""
        if self.code is not None and "wallet not created" in self.words:
            return WalletDown(f"{wallet} has no wallet yet. Make one on its machine: lncli create.")
        if self.code is not None and "wallet locked" in self.words:
            return WalletDown(f"{wallet} is locked. Unlock it on its machine: lncli unlock.")
        if self.code is not None and CLOSED.search(self.words):
            return WalletDown(f"{wallet} is still starting ({self.words}).")
        if (self.code is not None and NOT_ALLOWED.search(self.words)) or self.status in (401, 403):
            why = self.words or f"HTTP {self.status}"
            return WalletDown(f"{wallet} does not let the macaroon in LND_MACAROON do this ({why}). Make one: {COMMAND}")
        if self.no_such_path or self.code is None:
            return WalletDown(f"{wallet} answered with HTTP {self.status}, and not as LND's REST does. See that LND_URL is its restlisten.")
        return WalletDown(f"{wallet} answered: {self.words or f'code {self.code}'}.")


class Silence(NoAnswer):
    """The stream said nothing for so long that it may be dead."""


class _TlsCalls(JsonCalls):
    """Trusts `tls` alone, where it is given."""

    def __init__(self, session: aiohttp.ClientSession | None, tls: ssl.SSLContext | None, *, timeout_seconds: float) -> None:
        super().__init__(session, timeout_seconds=timeout_seconds)
        self._tls = tls

    @property
    def closed(self) -> bool:
        return self._closed

    def session(self) -> aiohttp.ClientSession:
        if self._session is None and self._tls is not None and not self._closed:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), connector=aiohttp.TCPConnector(ssl=self._tls))
        return super().session()


class LndLine:
    """The macaroon, in hex, appears in no error and no repr."""

    def __init__(
        self, url: URL, macaroon: str, *, tls: ssl.SSLContext | None, session: aiohttp.ClientSession | None, timeout_seconds: float
    ) -> None:
        self.url = url
        self._headers = {"Grpc-Metadata-macaroon": macaroon}
        self._calls = _TlsCalls(session, tls, timeout_seconds=timeout_seconds)
        self._timeout_seconds = timeout_seconds

    async def ask(self, method: str, path: str, body: object = None) -> Answer:
        """One call; `body` of the answer is an object. Raises Refused, NotSent, NoAnswer."""
        answer = await self._calls.ask(method, self._at(path), body=body, headers=self._headers)
        if answer.status != 200:
            raise Refused.of(answer.status, answer.body)
        if not isinstance(answer.body, dict):
            raise NoAnswer("no JSON object")
        return answer

    async def frames(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        total_seconds: float | None = None,
        silent_seconds: float | None = None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """What a stream says, one thing at a time. Ends when LND ends it; raises Refused, NotSent, NoAnswer.

        `silent_seconds`: how long it may say nothing. Close it (`aclosing`) when enough was heard."""
        timeout = aiohttp.ClientTimeout(total=total_seconds, sock_connect=self._timeout_seconds, sock_read=silent_seconds)
        url = self._at(path).with_query(query)
        try:
            async with self._calls.session().request(
                method, url, json=body, headers=self._headers, timeout=timeout, allow_redirects=False
            ) as response:
                async for line in _lines(response):
                    said = _object(line)
                    if response.status != 200 or (said is not None and "error" in said):
                        raise Refused.of(response.status, said)
                    if said is None or not isinstance(said.get("result"), dict):
                        raise NoAnswer("no JSON object")
                    yield said["result"]
                if response.status != 200:
                    raise Refused.of(response.status, None)
        except aiohttp.ClientConnectorError as problem:
            raise NotSent(type(problem).__name__) from None
        except aiohttp.SocketTimeoutError:
            raise Silence("nothing was said") from None
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as problem:
            raise NoAnswer(type(problem).__name__) from None

    @property
    def closed(self) -> bool:
        return self._calls.closed

    async def aclose(self) -> None:
        await self._calls.aclose()

    def _at(self, path: str) -> URL:
        return self.url.joinpath(*path.split("/"))


def tls_of(certificate: Path) -> ssl.SSLContext:
    """Trusts what is in this file and nothing else: LND makes its own certificate. WalletDown when it cannot be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # also where the file is not its own issuer
    try:
        context.load_verify_locations(cafile=certificate)
    except OSError as problem:  # an ssl.SSLError is one
        raise WalletDown(
            f"LND_CERT={certificate} is no certificate that can be read ({type(problem).__name__}). LND's is tls.cert in its folder."
        ) from None
    return context


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Whole lines, and what stands after the last of them: an answer that is no stream ends without."""
    kept = b""
    async for chunk in response.content.iter_any():
        *whole, kept = (kept + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(kept) > FRAME_BYTES_MAX:
            raise ValueError("the answer is too long")
    if kept.strip():
        yield kept


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(line, parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", said) if isinstance(said, dict) else None
