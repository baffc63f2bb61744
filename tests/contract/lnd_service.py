"""An LND as its REST interface shows it: a stand-in, written from LND's `lightning.yaml`, `lightning.proto`, `router.yaml`, `router.proto`,
`rpcserver.go`, `router_server.go`, `rpcperms/interceptor.go` and grpc-gateway. It is not LND, and was never compared with a running one.

Behind it is the built-in wallet, so that sats really move. It shares no line with the adapter: it writes its macaroons and its certificate
itself (`lnd_keys`), and refuses fields that LND's messages do not have, as LND does.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.contract.lnd_keys import Bakery, Kitchen

from timmy.clock import SystemClock
from timmy.lightning import bolt11
from timmy.lightning.wallets.protocol import Failed, NoSuchInvoice, Settled, Succeeded, Wallet
from timmy.money import Msats

Document = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HTTP_OF = {1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 12: 501, 14: 503, 16: 401}  # grpc-gateway's HTTPStatusFromCode
SEND_FIELDS = {
    "dest", "amt", "amt_msat", "payment_hash", "final_cltv_delta", "payment_addr", "payment_request", "timeout_seconds", "fee_limit_sat",
    "fee_limit_msat", "outgoing_chan_id", "outgoing_chan_ids", "last_hop_pubkey", "cltv_limit", "route_hints", "dest_custom_records",
    "allow_self_payment", "dest_features", "max_parts", "no_inflight_updates", "max_shard_size_msat", "amp", "time_pref", "cancelable",
    "first_hop_custom_records",
}  # fmt: skip
INVOICE_FIELDS = {
    "memo", "r_preimage", "value", "value_msat", "description_hash", "expiry", "fallback_addr", "cltv_expiry", "route_hints", "private",
    "is_amp", "is_blinded", "blinded_path_config",
}  # fmt: skip
REASONS = {
    "not enough sats": "FAILURE_REASON_INSUFFICIENT_BALANCE",
    "no route": "FAILURE_REASON_NO_ROUTE",
}
FINAL = ("SUCCEEDED", "FAILED")
LOCKED = "wallet locked, unlock it to enable full RPC access"
STARTING = "the RPC server is in the process of starting up, but not yet ready to accept calls"


class No(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message

    def answer(self, *, of_stream: bool = False) -> web.Response:
        said: Document = {"code": self.code, "message": self.message, "details": []}
        return web.json_response({"error": said} if of_stream else said, status=HTTP_OF[self.code])


class LndService:
    """`shut`: why nobody is let in (LOCKED, STARTING). `hold`: payments wait for it. `wraps`: how a stream refuses; old gateways wrap.
    `closing_fee_sat`: what is set aside of the balance to close the channel with; a real LND changes it as the chain's fees change."""

    def __init__(self, node: Wallet, folder: Path, *, wraps: bool = False) -> None:
        self.node = node
        self.bakery = Bakery()
        self.kitchen = Kitchen(folder)
        self.wraps = wraps
        self.shut: str | None = None
        self.hold: asyncio.Event | None = None
        self.called: list[str] = []
        self.payments: dict[str, Document] = {}
        self.fee_limits: list[int] = []
        self.closing_fee_sat = 0
        self._invoices: list[Document] = []
        self._settled: list[str] = []
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None
        self._subscribed: web.Request | None = None
        self.url = ""

    async def start(self) -> None:
        app = web.Application()
        for method, path, name, handler in (
            ("GET", "/v1/getinfo", "/lnrpc.Lightning/GetInfo", self._info),
            ("GET", "/v1/balance/channels", "/lnrpc.Lightning/ChannelBalance", self._balance),
            ("GET", "/v1/channels", "/lnrpc.Lightning/ListChannels", self._channels),
            ("POST", "/v1/invoices", "/lnrpc.Lightning/AddInvoice", self._add),
            ("GET", "/v1/invoice/{hash}", "/lnrpc.Lightning/LookupInvoice", self._look),
            ("GET", "/v1/invoices/subscribe", "/lnrpc.Lightning/SubscribeInvoices", self._subscribe),
            ("POST", "/v2/router/send", "/routerrpc.Router/SendPaymentV2", self._send),
            ("GET", "/v2/router/track/{hash}", "/routerrpc.Router/TrackPaymentV2", self._track),
        ):
            app.router.add_route(method, path, self._guarded(name, handler))
        app.router.add_route("*", "/{path:.*}", _nowhere)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.kitchen.certificate, self.kitchen.key)
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"
        self._spawn(self._notice())

    async def aclose(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        for task in list(self._tasks):
            with suppress(asyncio.CancelledError):
                await task
        if self._runner is not None:
            await self._runner.cleanup()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _guarded(self, name: str, handler: Handler) -> Handler:
        """LND's order: its state, the macaroon, the call."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            streams = name.rpartition("/")[2] in ("SubscribeInvoices", "SendPaymentV2", "TrackPaymentV2")
            try:
                if self.shut is not None:
                    raise No(2, self.shut)
                if (why := self.bakery.refuses(request.headers.getall("Grpc-Metadata-macaroon", []), name)) is not None:
                    raise No(2, why)
                self.called.append(name)
                return await handler(request)
            except No as no:
                return no.answer(of_stream=streams and self.wraps)

        return guarded

    # The node ------------------------------------------------------------------------------------------

    async def _info(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "version": "0.20.1-beta commit=v0.20.1-beta",
                "commit_hash": "0" * 40,
                "identity_pubkey": "02" + "ab" * 32,
                "alias": "stand-in",
                "num_pending_channels": 1,
                "num_active_channels": 1,
                "num_inactive_channels": 1,
                "num_peers": 2,
                "block_height": 812,
                "synced_to_chain": True,
                "synced_to_graph": True,
                "testnet": False,
                "best_header_timestamp": "1790000000",
                "chains": [{"chain": "bitcoin", "network": "regtest"}],
                "uris": [],
            }
        )

    async def _balance(self, _: web.Request) -> web.Response:
        has = (await self.node.balance()).value - self.closing_fee_sat * 1_000
        nothing = {"sat": "0", "msat": "0"}
        return web.json_response(
            {
                "balance": str(has // 1_000),
                "pending_open_balance": "0",
                "local_balance": {"sat": str(has // 1_000), "msat": str(has)},
                "remote_balance": {"sat": "70000", "msat": "70000000"},
                "unsettled_local_balance": nothing,
                "unsettled_remote_balance": nothing,
                "pending_open_local_balance": nothing,
                "pending_open_remote_balance": nothing,
                "custom_channel_data": "",
            }
        )

    async def _channels(self, _: web.Request) -> web.Response:
        has_sat = (await self.node.balance()).value // 1_000 - self.closing_fee_sat

        def channel(*, active: bool, local: int, remote: int, fee: int) -> Document:
            """We have opened the active one, and so its fee is ours."""
            kept = {"csv_delay": 144, "chan_reserve_sat": "1000", "dust_limit_sat": "354", "max_accepted_htlcs": 483}
            balances = {"capacity": str(local + remote + fee), "local_balance": str(local), "remote_balance": str(remote)}
            fees = {"initiator": active, "commit_fee": str(fee), "unsettled_balance": "0"}
            return {"active": active, "chan_id": "1", **balances, **fees, "local_constraints": kept, "remote_constraints": kept}

        ours = channel(active=True, local=has_sat, remote=70_000, fee=self.closing_fee_sat)
        return web.json_response({"channels": [ours, channel(active=False, local=500, remote=900, fee=300)]})

    # Invoices ------------------------------------------------------------------------------------------

    async def _add(self, request: web.Request) -> web.Response:
        asked = await _message(request, INVOICE_FIELDS)
        made = await self.node.create_invoice(
            Msats(_number(asked, "value_msat")), memo=asked.get("memo", ""), expiry_seconds=_number(asked, "expiry") or 86_400, label=""
        )
        self._invoices.append({"hash": made.payment_hash, "request": made.payment_request, "memo": asked.get("memo", "")})
        await self._tell()
        return web.json_response(
            {
                "r_hash": base64.b64encode(bytes.fromhex(made.payment_hash)).decode(),
                "payment_request": made.payment_request,
                "add_index": str(len(self._invoices)),
                "payment_addr": base64.b64encode(bytes(32)).decode(),
            }
        )

    async def _look(self, request: web.Request) -> web.Response:
        name = request.match_info["hash"]
        try:
            raw = bytes.fromhex(name)
        except ValueError:
            raise No(2, "encoding/hex: invalid byte") from None
        if len(raw) != 32:
            raise No(2, f"payment hash must be exactly 32 bytes, is instead {len(raw)}")
        return web.json_response(await self._invoice(name))

    async def _invoice(self, payment_hash: str) -> Document:
        index = next((number for number, one in enumerate(self._invoices, 1) if one["hash"] == payment_hash), None)
        found = await self.node.lookup_invoice(payment_hash)
        if index is None or isinstance(found, NoSuchInvoice):
            raise No(5, "unable to locate invoice")
        kept = self._invoices[index - 1]
        invoice = bolt11.decode(kept["request"])
        paid_msat, preimage = (found.received.value, found.preimage) if isinstance(found, Settled) else (0, None)
        state = "SETTLED" if isinstance(found, Settled) else "CANCELED" if invoice.expired(SystemClock().now_ms()) else "OPEN"
        return {
            "memo": kept["memo"],
            "r_preimage": base64.b64encode(bytes.fromhex(preimage or "00" * 32)).decode(),
            "r_hash": base64.b64encode(bytes.fromhex(payment_hash)).decode(),
            "value_msat": str(invoice.amount.value if invoice.amount else 0),
            "settled": state == "SETTLED",
            "payment_request": kept["request"],
            "add_index": str(index),
            "settle_index": str(self._settled.index(payment_hash) + 1 if payment_hash in self._settled else 0),
            "amt_paid": str(paid_msat),
            "amt_paid_sat": str(paid_msat // 1_000),
            "amt_paid_msat": str(paid_msat),
            "state": state,
            "htlcs": [],
        }

    async def _notice(self) -> None:
        async for payment_hash in self.node.settlements():
            if payment_hash not in self._settled:
                self._settled.append(payment_hash)
                await self._tell()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _subscribe(self, request: web.Request) -> web.StreamResponse:
        """New invoices as they are made, settled ones as they are settled; earlier ones from an index on, if one is named."""
        stream, self._subscribed = Stream(request), request
        added, settled = len(self._invoices), int(request.query.get("settle_index", "0")) or len(self._settled)
        while True:
            new = [one["hash"] for one in self._invoices[added:]] + self._settled[settled:]
            added, settled = len(self._invoices), len(self._settled)
            for payment_hash in new:
                await stream.say(await self._invoice(payment_hash))
            async with self._news:
                while (len(self._invoices), len(self._settled)) == (added, settled):
                    await self._news.wait()

    def hang_up(self) -> None:
        """On whoever listens for invoices."""
        assert self._subscribed is not None, "nobody has subscribed"
        if self._subscribed.transport is not None:
            self._subscribed.transport.abort()

    # Payments ------------------------------------------------------------------------------------------

    async def _send(self, request: web.Request) -> web.StreamResponse:
        asked = await _message(request, SEND_FIELDS)
        try:
            invoice = bolt11.decode(asked["payment_request"])
        except (KeyError, bolt11.InvalidInvoice) as problem:
            raise No(2, f"invalid index of 1: {problem}") from None
        if invoice.expired(SystemClock().now_ms()):
            raise No(2, f"invoice expired. Valid until {invoice.expires_at_ms // 1_000}")
        amount_msat = _number(asked, "amt_msat")
        if invoice.amount is None and not amount_msat:
            raise No(2, "amount must be specified when paying a zero amount invoice")
        if invoice.amount is not None and amount_msat:
            raise No(2, "amount must not be specified when paying a non-zero amount invoice")
        if any(one["hash"] == invoice.payment_hash for one in self._invoices):
            raise No(2, "self-payments not allowed")
        already = {"INITIATED": "payment already exists", "IN_FLIGHT": "payment is in transition", "SUCCEEDED": "invoice is already paid"}
        known = self.payments.get(invoice.payment_hash)
        if known is not None and known["status"] in already:
            raise No(6, already[known["status"]])
        amount = invoice.amount or Msats(amount_msat)
        self.fee_limits.append(_number(asked, "fee_limit_msat"))
        self.payments[invoice.payment_hash] = _payment(invoice, amount, "IN_FLIGHT")
        self._spawn(self._carry(invoice, amount, Msats(_number(asked, "fee_limit_msat"))))
        return await self._follow(request, invoice.payment_hash, quiet=asked.get("no_inflight_updates") is True)

    async def _carry(self, invoice: bolt11.Invoice, amount: Msats, fee_limit: Msats) -> None:
        """Goes on whether anybody listens or not."""
        if self.hold is not None:
            await self.hold.wait()
        outcome = await self.node.pay_invoice(invoice.payment_request, amount=amount, fee_limit=fee_limit)
        match outcome:
            case Succeeded(preimage=str(preimage), fee=Msats() as fee):
                ended = {
                    "status": "SUCCEEDED",
                    "payment_preimage": preimage,
                    "fee_msat": str(fee.value),
                    "fee_sat": str(fee.value // 1_000),
                }
            case Failed(reason=reason):
                why = next((name for words, name in REASONS.items() if words in reason), "FAILURE_REASON_INCORRECT_PAYMENT_DETAILS")
                ended = {"status": "FAILED", "failure_reason": why}
            case _:
                raise AssertionError(f"the built-in wallet answered {outcome}")
        self.payments[invoice.payment_hash].update(ended)
        await self._tell()

    async def _track(self, request: web.Request) -> web.StreamResponse:
        text = request.match_info["hash"]
        raw = base64.b64decode(text, altchars=b"-_" if set(text) & {"-", "_"} else None, validate=True)
        if len(raw) != 32:
            raise No(2, f"invalid hash length of {len(raw)}, want 32")
        if raw.hex() not in self.payments:
            raise No(5, "payment isn't initiated")
        return await self._follow(request, raw.hex(), quiet=request.query.get("no_inflight_updates") == "true")

    async def _follow(self, request: web.Request, payment_hash: str, *, quiet: bool) -> web.StreamResponse:
        stream, told = Stream(request), ""
        while True:
            payment = self.payments[payment_hash]
            told = str(payment["status"])
            if told in FINAL or not quiet:
                await stream.say(payment)
            if told in FINAL:
                return await stream.end()
            async with self._news:
                while self.payments[payment_hash]["status"] == told:
                    await self._news.wait()


class Stream:
    """One JSON object a line, and not a header before the first."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response: web.StreamResponse | None = None

    async def say(self, result: Document) -> None:
        if self._response is None:
            self._response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await self._response.prepare(self._request)
        await self._response.write(json.dumps({"result": result}).encode() + b"\n")

    async def end(self) -> web.StreamResponse:
        assert self._response is not None, "a payment's stream says something before it ends"
        await self._response.write_eof()
        return self._response


async def _nowhere(_: web.Request) -> web.Response:
    return No(5, "Not Found").answer()


async def _message(request: web.Request, fields: set[str]) -> Document:
    try:
        asked = json.loads(await request.text())
    except ValueError:
        raise No(3, "proto: syntax error") from None
    if strange := sorted(set(asked) - fields):
        raise No(3, f'proto: (line 1:2): unknown field "{strange[0]}"')
    return dict(asked)


def _number(asked: Document, name: str) -> int:
    """64 bits: text or a number."""
    value = asked.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise No(3, f"proto: invalid value for int64 field {name}")
    return int(value)


def _payment(invoice: bolt11.Invoice, amount: Msats, status: str) -> Document:
    return {
        "payment_hash": invoice.payment_hash,
        "value": str(amount.value // 1_000),
        "fee": "0",
        "payment_preimage": "00" * 32,
        "value_sat": str(amount.value // 1_000),
        "value_msat": str(amount.value),
        "payment_request": invoice.payment_request,
        "status": status,
        "fee_sat": "0",
        "fee_msat": "0",
        "creation_time_ns": "1790000000000000000",
        "htlcs": [],
        "payment_index": "1",
        "failure_reason": "FAILURE_REASON_NONE",
        "first_hop_custom_records": {},
    }
