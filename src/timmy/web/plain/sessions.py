"""Sessions, by forms. A session is seen by whoever knows its address, as over JSON; what spends from it brings its macaroon along."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from timmy.errors import TimmyError
from timmy.sessions.protocol import Destination, Permit, RequestView, SessionState, SessionView, ToInvoice, Use
from timmy.sessions.refusals import RequestInProgress, RequestNotFound
from timmy.web import fields
from timmy.web.credentials import BEARER
from timmy.web.house import WebHouse
from timmy.web.markup import NOTHING, Markup
from timmy.web.plain.forms import check_origin, key_of
from timmy.web.plain.home import Typed
from timmy.web.plain.jobs import again, destination_of, form_of, typed
from timmy.web.plain.session_page import address, request_page, session_page
from timmy.web.plain.trouble import see, told_when, trouble_card
from timmy.web.refusals import FieldWrongType, InvoiceNotFound, MacaroonWanted, NarrowedKey
from timmy.web.sessions import ID, session_id
from timmy.web.spending import CAPABILITY

ANSWER_WITHIN_SECONDS = 5.0  # what takes longer is shown on a page that looks again by itself
RUNNING = "runningRequestId"
LOOK_AGAIN_SECONDS = (0.1, 0.5)


class SessionPages:
    def __init__(self, house: WebHouse) -> None:
        self.house = house

    async def open(self, request: Request) -> Response:
        form = await form_of(self.house, request)
        try:
            document = _amount(form)
            amount = fields.deposit(document, self.house.settings.session_min, self.house.settings.session_max)
            with self.house.offers.passing(request):
                view = await self.house.sessions.open(amount, key=key_of(form, document))
        except TimmyError as error:
            return await again(self.house, error, request, form)
        return see(address(view.id))

    async def find(self, request: Request) -> Response:
        """From a key to its balance. A narrowed key is not shown the way: at its end lies the whole one."""
        form = await form_of(self.house, request)
        try:
            brought = _macaroon(form)
            permit = await self.house.sessions.authorize(brought, self._use(request))
            view = await self.house.sessions.view(permit.session_id)
            if not hmac.compare_digest((view.macaroon or "").encode(), brought.encode()):
                raise NarrowedKey(
                    "This key may spend only a part, or is written in another way than we write it. Give the key as it was shown."
                )
        except TimmyError as error:
            return await again(self.house, error, request, form)
        return see(address(view.id))

    async def show(self, request: Request) -> Response:
        return self._shown(await self.house.sessions.view(session_id(request)), still="still" in request.query_params)

    async def ask(self, request: Request) -> Response:
        form, view = await self._form_and_view(request)
        try:
            document: dict[str, object] = {"request": form.get("request", "")}
            text = fields.session_request(document, request_chars_max=self.house.settings.max_request_chars)
            permit = await self._permit(request, form, view)
            done = await self._asked(permit, text, form, document)
        except TimmyError as error:
            fresh = await self.house.sessions.view(view.id)
            return self._refused(error, request, fresh, form)
        return see(f"{address(view.id)}/requests/{done}")

    async def _asked(self, permit: Permit, text: str, form: Mapping[str, str], document: dict[str, object]) -> str:
        """The request's id: when it is answered, or while it is being answered, if that takes long. It goes on without us, and asking
        anew with its key tells which it is."""
        key = key_of(form, document, f"session:{permit.session_id}")
        for pause_seconds in (*LOOK_AGAIN_SECONDS, None):
            try:
                if key is None:
                    return (await self.house.sessions.request(permit, text)).id
                try:
                    async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                        return (await self.house.sessions.request(permit, text, key=key)).id
                except TimeoutError:
                    return (await self.house.sessions.request(permit, text, key=key)).id
            except RequestInProgress as running:
                if RUNNING in running.extra:
                    return str(running.extra[RUNNING])
                # The button was pressed twice, and both were written down together: in a moment it is known which id the first one has.
                # A page that said so would come with a new key, and the question would be paid for once more.
                if pause_seconds is None:
                    raise
                await asyncio.sleep(pause_seconds)
        raise AssertionError("the last try answers or raises")

    async def show_request(self, request: Request) -> Response:
        view = await self.house.sessions.view(session_id(request))
        return request_page(view, await self._request(request, view), self.house.settings, still="still" in request.query_params)

    async def _request(self, request: Request, view: SessionView) -> RequestView:
        known = request.path_params["requestId"]
        if view.macaroon is None or ID.fullmatch(known) is None:
            raise RequestNotFound("There is no request with this id in this session.")
        permit = await self.house.sessions.authorize(view.macaroon, self._use(request), session_id=view.id)
        return await self.house.sessions.request_view(permit, known)

    async def topup(self, request: Request) -> Response:
        form, view = await self._form_and_view(request)
        try:
            document = _amount(form)
            amount = fields.deposit(document, self.house.settings.session_min, self.house.settings.session_max)
            with self.house.offers.passing(request):
                await self.house.sessions.topup(view.id, amount, key=key_of(form, document, f"session:{view.id}"))
        except TimmyError as error:
            return self._refused(error, request, view, form)
        return see(address(view.id))

    async def close(self, request: Request) -> Response:
        form, view = await self._form_and_view(request)
        try:
            document = destination_of(form)
            permit = await self._permit(request, form, view)
            destination = await self._destination(form, document, view)
            await self.house.sessions.close(permit, destination, key=key_of(form, document, f"session:{view.id}"))
        except TimmyError as error:
            return self._refused(error, request, view, form)
        return see(address(view.id))

    async def _destination(self, form: Mapping[str, str], document: dict[str, object], view: SessionView) -> Destination:
        if self.house.dev is not None and form.get("pretend"):
            ended = view.state is SessionState.EXPIRED and view.refund.owed
            return ToInvoice(await self.house.dev.customer_invoice(view.refund.owed if ended else view.balance.floor_sats()))
        return fields.payout_destination(document)

    async def pretend_to_pay(self, request: Request) -> Response:
        """In development: whichever invoice the session waits for."""
        check_origin(request, self.house.settings.public_url)
        view = await self.house.sessions.view(session_id(request))
        invoice = view.pending_topup or view.deposit
        if self.house.dev is None or not await self.house.dev.pay(invoice.payment_hash):
            raise InvoiceNotFound("There is nothing to be paid here.")
        return see(address(view.id))

    def _shown(
        self,
        view: SessionView,
        wrote: Typed | None = None,
        *,
        trouble: Markup = NOTHING,
        to: str = "",
        status: int = 200,
        still: bool = False,
    ) -> Response:
        pretend, typed_in = self.house.dev is not None, wrote or Typed()
        return session_page(view, self.house.settings, typed_in, pretend=pretend, trouble=trouble, to=to, status=status, still=still)

    def _refused(self, error: TimmyError, request: Request, view: SessionView, form: Mapping[str, str]) -> Response:
        """The page with what was typed, and what was wrong with it."""
        page = self._shown(view, typed(form), trouble=trouble_card(error, request), to=form.get("to", ""), status=error.status)
        return told_when(page, error, request)

    async def _form_and_view(self, request: Request) -> tuple[dict[str, str], SessionView]:
        known = session_id(request)
        return await form_of(self.house, request), await self.house.sessions.view(known)

    async def _permit(self, request: Request, form: Mapping[str, str], view: SessionView) -> Permit:
        return await self.house.sessions.authorize(_macaroon(form), self._use(request), session_id=view.id)

    def _use(self, request: Request) -> Use:
        """The path that the same act has over JSON: a key that is narrowed to one is narrowed to both."""
        path = request.scope["path"].replace("/api/ui/", "/api/", 1)
        return Use(CAPABILITY, path, self.house.clock.now_ms())


def _macaroon(form: Mapping[str, str]) -> str:
    given = form.get("macaroon", "").strip()
    given = given[len(BEARER) :].strip() if given[: len(BEARER)].lower() == BEARER else given
    if not given:
        raise MacaroonWanted("Give the key that was shown when the balance was opened.")
    return given


def _amount(form: Mapping[str, str]) -> dict[str, object]:
    """A number, as people type one. Whether it is within the bounds is looked at as in a body. FieldWrongType."""
    given = form.get("amountSats", "").strip().replace(",", "").replace(" ", "")
    if not (given.isascii() and given.isdigit() and len(given) <= DIGITS_MAX):
        raise FieldWrongType("Type how many sats, as a whole number in digits, like 500.", field="amountSats")
    return {"amountSats": int(given)}


DIGITS_MAX = 12
