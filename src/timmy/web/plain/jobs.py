"""Jobs, by forms."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from timmy.errors import TimmyError
from timmy.jobs.model import JobView, State
from timmy.jobs.protocol import Destination, ToInvoice
from timmy.web import fields
from timmy.web.address import client_address, networks
from timmy.web.house import WebHouse
from timmy.web.jobs import job_id
from timmy.web.markup import NOTHING, Markup
from timmy.web.plain.forms import check_origin, key_of, read_form
from timmy.web.plain.home import Front, Typed, home_page
from timmy.web.plain.job_page import address, job_page
from timmy.web.plain.trouble import see, told_when, trouble_card
from timmy.web.refusals import InvoiceNotFound
from timmy.web.turnstile import counted
from timmy.world.demo import DemoClosed


class JobPages:
    def __init__(self, house: WebHouse) -> None:
        self.house = house
        self.proxies = networks(house.settings.trusted_proxies)

    async def home(self, _request: Request) -> Response:
        return home_page(await front(self.house), self.house.settings, Typed())

    async def estimate(self, request: Request) -> Response:
        form = await self._form(request)
        try:
            wanted = fields.estimate_wanted({"request": form.get("request", "")}, request_chars_max=self.house.settings.max_request_chars)
            estimate = await self.house.giving.estimate(wanted.request)
        except TimmyError as error:
            return await self._again(error, request, form)
        return home_page(await front(self.house), self.house.settings, typed(form), estimate=estimate)

    async def demo(self, request: Request) -> Response:
        """An answer for nothing, on the front page: there is nothing to come back to, and nobody but the asker sees it."""
        form = await self._form(request)
        try:
            text = fields.session_request({"request": form.get("request", "")}, request_chars_max=self.house.settings.max_request_chars)
            if self.house.demo is None:
                raise DemoClosed("Here nothing is given for nothing.")
            free = await self.house.demo.ask(text, counted(client_address(request.scope, self.proxies)))
        except TimmyError as error:
            return await self._again(error, request, form)
        return home_page(await front(self.house), self.house.settings, typed(form), free=free)

    async def create(self, request: Request) -> Response:
        form = await self._form(request)
        try:
            return see(address((await self._created(request, form)).id))
        except TimmyError as error:
            return await self._again(error, request, form)

    async def _created(self, request: Request, form: Mapping[str, str]) -> JobView:
        document: dict[str, object] = {"request": form.get("request", "")}
        if form.get("refundTo", "").strip():
            document["refundTo"] = form["refundTo"]
        wanted = fields.new_job(document, request_chars_max=self.house.settings.max_request_chars)
        with self.house.offers.passing(request):
            return await self.house.jobs.submit(wanted.request, refund_to=wanted.refund_to, key=key_of(form, document))

    async def show(self, request: Request) -> Response:
        return await self._shown(await self.house.jobs.view(job_id(request)), still="still" in request.query_params)

    async def refund(self, request: Request) -> Response:
        known, form = job_id(request), await self._form(request)
        view = await self.house.jobs.view(known)
        try:
            document = destination_of(form)
            key = key_of(form, document, f"job:{known}")
            if self.house.dev is not None and form.get("pretend"):
                destination: Destination = ToInvoice(await self.house.dev.customer_invoice(view.refund.owed))
            else:
                destination = fields.destination(document)
            await self.house.jobs.refund(known, destination, key=key)
        except TimmyError as error:
            page = await self._shown(view, trouble=trouble_card(error, request), to=form.get("to", ""), status=error.status)
            return told_when(page, error, request)
        return see(address(known))

    async def pretend_to_pay(self, request: Request) -> Response:
        """In development: whichever invoice the job waits for."""
        check_origin(request, self.house.settings.public_url)
        view = await self.house.jobs.view(job_id(request))
        invoice = view.work_invoice if view.state is State.AWAITING_WORK_PAYMENT else view.eval_invoice
        if self.house.dev is None or invoice is None or not await self.house.dev.pay(invoice.payment_hash):
            raise InvoiceNotFound("There is nothing to be paid here.")
        return see(address(view.id))

    async def _shown(self, view: JobView, *, trouble: Markup = NOTHING, to: str = "", status: int = 200, still: bool = False) -> Response:
        so_far = await self.house.jobs.so_far(view.id) if view.state is State.EXECUTING else ""
        house = self.house
        return job_page(
            view,
            so_far=so_far,
            pretend=house.dev is not None,
            receipts=house.receipt_key is not None,
            trouble=trouble,
            typed=to,
            status=status,
            still=still,
        )

    async def _again(self, error: TimmyError, request: Request, form: Mapping[str, str]) -> Response:
        return await again(self.house, error, request, form)

    async def _form(self, request: Request) -> dict[str, str]:
        return await form_of(self.house, request)


async def form_of(house: WebHouse, request: Request) -> dict[str, str]:
    return await read_form(request, bytes_max=house.settings.max_body_bytes, public_url=house.settings.public_url)


async def front(house: WebHouse) -> Front:
    pool, _ = await house.giving.pool()
    health = await house.health()
    free_answers = house.demo.per_address.most if house.demo is not None else 0
    pretended = tuple(part.name for part in health.parts if part.stand_in)
    return Front(pool, await house.pool_frozen(), pretended, free_answers)


async def again(house: WebHouse, error: TimmyError, request: Request, form: Mapping[str, str]) -> Response:
    """The front page, with what was typed, and what was wrong with it."""
    page = home_page(await front(house), house.settings, typed(form), trouble=trouble_card(error, request), status=error.status)
    return told_when(page, error, request)


def typed(form: Mapping[str, str]) -> Typed:
    return Typed(form.get("request", ""), form.get("refundTo", ""), form.get("amountSats", ""), form.get("macaroon", ""))


def destination_of(form: Mapping[str, str]) -> dict[str, object]:
    """The one field of a page as the fields of a body."""
    to = form.get("to", "").strip()
    bare = to[len(SCHEME) :] if to.lower().startswith(SCHEME) else to
    if not bare:
        return {}
    name = "lightningAddress" if "@" in bare else "lnurl" if bare.lower().startswith("lnurl") else "invoice"
    return {name: bare}


SCHEME = "lightning:"
