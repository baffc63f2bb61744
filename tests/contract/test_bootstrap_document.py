"""Whatever is sent about nodes is answered as it is described, and never with a 500."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck
from hypothesis import settings as effort
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance
from tests.contract.http_desk import World

from timmy.bootstrap.call_home import Report
from timmy.bootstrap.desk import BootstrapNotFound, BootstrapUnderWay, CallHomeTokenInvalid, ClaimTokenInvalid
from timmy.bootstrap.keys import read_public_key
from timmy.bootstrap.model import BootstrapNews, BootstrapView, InvoiceView, KeyKind, KeyState, KeyView, RefundState, RefundView, State
from timmy.bootstrap.protocol import Destination, Key, Wanted
from timmy.lightning.lnurl import LightningAddressMalformed, is_lightning_address
from timmy.money import Msats, Sats
from timmy.web import create_app

ID = "bst_jqxw2zlp5v3k7m4t6r2yq5hs4a"  # the example of the document, so that it is tried
ORDER = BootstrapView(
    id=ID,
    state=State.READY,
    is_rehearsal=True,
    created_at_ms=1_700_000_000_000,
    completed_at_ms=1_700_000_100_000,
    invoice=InvoiceView("lnbcrt1", "ab" * 32, Sats(10_000), 1_700_000_600_000, settled=True),
    progress="The node answers.",
    reason=None,
    trouble=None,
    address="203.0.113.7",
    tailscale_name=None,
    lnbits_url="http://127.0.0.1:5000",
    key=KeyView(KeyKind.ED25519, KeyState.WAITING, "ssh-ed25519 AAAA", None, None),
    refund=RefundView(RefundState.NOT_APPLICABLE, Sats(0), Sats(0), Msats(0), None, None),
    refund_to=None,
    claim_token="claim_x",
)


class Nodes:
    """A `BootstrapDesk` with one order, which is ready."""

    async def order(self, wanted: Wanted, *, key: Key | None = None) -> BootstrapView:
        if wanted.refund_to is not None and not is_lightning_address(wanted.refund_to):
            raise LightningAddressMalformed("refundTo must be a Lightning address.")
        if wanted.public_key is not None:
            read_public_key(wanted.public_key)
        return replace(ORDER, state=State.AWAITING_PAYMENT)

    async def view(self, order_id: str) -> BootstrapView:
        if order_id != ID:
            raise BootstrapNotFound("There is no such order.")
        return ORDER

    async def collect(self, order_id: str, claim: str | None = None) -> tuple[BootstrapView, str | None]:
        view = await self.view(order_id)
        if claim not in (None, ORDER.claim_token):
            raise ClaimTokenInvalid("It is not this order's.")
        return view, "-----BEGIN OPENSSH PRIVATE KEY-----"

    async def follow(self, order_id: str, *, after_seq: int = 0) -> AsyncIterator[BootstrapNews]:
        for seq in range(after_seq + 1, 3):
            yield BootstrapNews(seq, "bootstrap")

    async def refund(self, order_id: str, destination: Destination, *, key: Key | None = None) -> BootstrapView:
        await self.view(order_id)
        raise BootstrapUnderWay("It has not ended.")

    async def called_home(self, order_id: str, token: str, report: Report) -> State:
        raise CallHomeTokenInvalid("It is not this machine's.")


WORLD = World.build()
WORLD.house.bootstrap = Nodes()
schema = schemathesis.openapi.from_asgi("/api/openapi.json", create_app(WORLD.house))
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.mark.fault("F01", "F02", "F09")
@schema.include(path_regex="^/api/bootstrap").parametrize()
@effort(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_about_nodes_is_answered_as_described(case: schemathesis.Case[Any]) -> None:
    answer = case.call()
    case.validate_response(answer, checks=list(CHECKS))
