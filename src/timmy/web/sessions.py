"""Sessions over HTTP: pay ahead, spend per request, top up, take the rest back."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from timmy.idempotency import Key
from timmy.money import Sats
from timmy.sessions.protocol import Permit, SessionState, Use
from timmy.sessions.refusals import RequestNotFound, SessionNotFound
from timmy.web import fields, session_views
from timmy.web.bodies import read_object, read_signed
from timmy.web.callers import caller_of, principal
from timmy.web.credentials import credential
from timmy.web.house import WebHouse
from timmy.web.refusals import MacaroonWanted
from timmy.web.render import PRIVATE, private
from timmy.web.spending import CAPABILITY, Asked, answered
from timmy.web.stream import OpenStreams, SessionStream, begin, last_seen

ID = re.compile(r"[!-~]{1,64}")


class SessionRoutes:
    def __init__(self, house: WebHouse, streams: OpenStreams) -> None:
        self.house = house
        self.streams = streams

    async def open(self, request: Request) -> Response:
        document, raw = await read_signed(request, bytes_max=self.house.settings.max_body_bytes)
        fields.only(document, ("amountSats", "nostr_token"))
        amount, token = self._amount(document), fields.nostr_token(document)
        key = fields.idempotency_key(request, document)
        with self.house.offers.passing(request):
            caller = await caller_of(self.house.identity, request, raw, token)
            owned = fields.owned(key, principal(caller))
            view = await self.house.sessions.open(amount, pubkey=caller.pubkey if caller else None, key=owned)
        return private(session_views.opened(view), 201, {"Location": f"/api/sessions/{view.id}"})

    async def show(self, request: Request) -> Response:
        return private(session_views.session(await self.house.sessions.view(session_id(request))))

    async def ask(self, request: Request) -> Response | ASGIApp:
        document = await self._object(request)
        text = fields.session_request(document, request_chars_max=self.house.settings.max_request_chars)
        return await answered(self.house, request, Asked(text, self._key(request, document), session_id(request)))

    async def show_request(self, request: Request) -> Response:
        permit = await self._permit(request)
        known = request.path_params["requestId"]
        if ID.fullmatch(known) is None:
            raise RequestNotFound("There is no request with this id in this session.")
        return private(session_views.request(await self.house.sessions.request_view(permit, known)))

    async def topup(self, request: Request) -> Response:
        known = session_id(request)
        document = await self._object(request)
        fields.only(document, ("amountSats",))
        amount, key = self._amount(document), self._key(request, document)
        return private(session_views.invoice(await self.house.sessions.topup(known, amount, key=key)), 201)

    async def close(self, request: Request) -> Response:
        document = await self._object(request)
        destination = fields.payout_destination(document)
        key = self._key(request, document)
        permit = await self._permit(request)
        return private(session_views.session(await self.house.sessions.close(permit, destination, key=key)))

    async def events(self, request: Request) -> Response | ASGIApp:
        self.streams.check()
        view = await self.house.sessions.view(session_id(request))
        seen = last_seen(request.headers.get("last-event-id", ""))
        news = self.house.sessions.follow(view.id, after_seq=seen)
        first = await begin(news, seen=seen, is_over=view.state is SessionState.EXPIRED)
        if first is None:
            return Response(status_code=204, headers=PRIVATE)  # tells an EventSource not to come back again
        return self.streams.counted(SessionStream(self.house, view, news, first))

    async def _object(self, request: Request) -> dict[str, object]:
        return await read_object(request, bytes_max=self.house.settings.max_body_bytes)

    def _amount(self, document: dict[str, object]) -> Sats:
        return fields.deposit(document, self.house.settings.session_min, self.house.settings.session_max)

    def _key(self, request: Request, document: dict[str, object]) -> Key | None:
        """A key of one session says nothing about another's."""
        return fields.owned(fields.idempotency_key(request, document), f"session:{session_id(request)}")

    async def _permit(self, request: Request) -> Permit:
        """That the bearer may do this with this session. The whole chain is looked at, so the time it takes says nothing."""
        use = Use(CAPABILITY, request.scope["path"], self.house.clock.now_ms())
        return await self.house.sessions.authorize(macaroon(request), use, session_id=session_id(request))


def session_id(request: Request) -> str:
    """What stands in the path, unless it cannot possibly be an id (a NUL would be an error in PostgreSQL, and so a 500)."""
    found = request.path_params["sessionId"]
    if not isinstance(found, str) or ID.fullmatch(found) is None:
        raise SessionNotFound("There is no session with this id. It is the sessionId of the answer that opened it.")
    return found


def macaroon(request: Request) -> str:
    """As it was brought: alone, or with the preimage that proves its payment (L402)."""
    known = credential(request)
    if known is None:
        raise MacaroonWanted(
            "Send `Authorization: Bearer` with the session's macaroon: GET /api/sessions/{sessionId} shows it once it is paid."
        )
    return known.text
