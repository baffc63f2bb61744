"""The desk's addresses. What acts is sent by a form of ours, and answered with a redirection that says what was done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from timmy.jobs.desk import JobNotFound
from timmy.web.house import WebHouse
from timmy.web.jobs import JOB_ID
from timmy.web.operations import PageRoute
from timmy.web.operator.alerts import sats
from timmy.web.operator.keys import OperatorKeys, SignedIn
from timmy.web.operator.page import SPANS, Desk, desk_page, job_page, sign_in_page, sure_page
from timmy.web.operator.protocol import OperatorsDesk
from timmy.web.plain.jobs import form_of
from timmy.web.plain.routes import told_on_a_page
from timmy.web.plain.trouble import see, trouble_card
from timmy.web.refusals import AdminTokenWanted, RateLimited

LINES = 50
SAID = {
    "stopped": "Stopped.",
    "on": "It goes on.",
    "not-stopped": "It was not stopped.",
    "task": "The task will be tried again.",
    "no-task": "No parked task is called that any more.",
    "refunds": "What was laid aside is tried again. Each payment is looked for first, and never made twice.",
    "audit": "The books are being read through.",
}
Acts = Callable[[Request, Mapping[str, str], SignedIn], Awaitable[Response]]


class OperatorPages:
    def __init__(self, house: WebHouse, desk: OperatorsDesk, keys: OperatorKeys) -> None:
        self.house = house
        self.desk = desk
        self.keys = keys

    async def show(self, request: Request) -> Response:
        who = self.keys.signed_in(request)
        if who is None:
            if "authorization" not in request.headers:
                return sign_in_page()
            self.keys.program(request)
            who = SignedIn("")  # it may look; a form without a word does nothing
        given = request.query_params.get("days", "")
        span = next((count for count in SPANS if given == str(count)), SPANS[1])
        desk = Desk(
            await self.desk.summary(),
            await self.desk.days(span),
            await self.desk.jobs(LINES),
            await self.desk.refunds(LINES),
            await self.desk.tasks(LINES),
            await self.desk.strays(LINES),
        )
        return desk_page(desk, who, span=span, said=SAID.get(request.query_params.get("said", ""), ""))

    async def job(self, request: Request) -> Response:
        if self.keys.signed_in(request) is None:
            return see("/admin")
        known = request.path_params["jobId"]
        if JOB_ID.fullmatch(known) is None:
            raise JobNotFound("There is no job with this id.")
        return job_page(*await self.desk.job(known))

    async def sign_in(self, request: Request) -> Response:
        form = await form_of(self.house, request)
        try:
            self.keys.check(request, form.get("token", "").strip())
        except (AdminTokenWanted, RateLimited) as refusal:
            return sign_in_page(trouble_card(refusal, request), refusal.status)
        answer = see("/admin")
        self.keys.sign_in(answer, secure=self._secure(request))
        return answer

    async def sign_out(self, request: Request, _form: Mapping[str, str], _who: SignedIn) -> Response:
        answer = see("/admin")
        self.keys.sign_out(answer, secure=self._secure(request))
        return answer

    def _secure(self, request: Request) -> bool:
        """Over a proxy's TLS we see plain HTTP; the public URL knows better."""
        return request.url.scheme == "https" or self.house.settings.public_url.startswith("https://")

    def acts(self, act: Acts) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            form = await form_of(self.house, request)  # which looks at where it was sent from
            who = self.keys.signed_in(request)
            if who is None:
                return sign_in_page(trouble_card(AdminTokenWanted("You are not signed in any more. Nothing was done."), request), 401)
            self.keys.check_word(who, form.get("word", ""))
            return await act(request, form, who)

        return checked

    # what can be done ------------------------------------------------------------------------------------

    async def stop(self, _request: Request, form: Mapping[str, str], _who: SignedIn) -> Response:
        await self.desk.stop(form.get("name", ""), "by the operator, at the desk")
        return said("stopped", "breakers")

    async def go_on(self, _request: Request, form: Mapping[str, str], who: SignedIn) -> Response:
        name = form.get("name", "")
        stopped = next((one for one in (await self.desk.summary()).breakers if one.name == name and one.can_reset), None)
        if stopped is None:
            return said("not-stopped", "breakers")
        if form.get("sure") != "yes":
            question = (
                f"{name.capitalize()} stopped because: {stopped.reason}. If they go on, up to {sats(stopped.amount)} sats may move again."
            )
            return sure_page("/admin/go-on", who, question, f"Let {name} go on", name=name)
        return said("on" if await self.desk.go_on(name) else "not-stopped", "breakers")

    async def retry_task(self, _request: Request, form: Mapping[str, str], _who: SignedIn) -> Response:
        return said("task" if await self.desk.retry_task(form.get("id", "")) else "no-task", "tasks")

    async def retry_refunds(self, _request: Request, form: Mapping[str, str], who: SignedIn) -> Response:
        if form.get("sure") != "yes":
            amount = (await self.desk.refunds(LINES)).laid_aside
            question = (
                f"{sats(amount)} sats are to be sent to customers. Each payment is looked for in the wallet first, and never made twice."
            )
            return sure_page("/admin/refunds/retry", who, question, f"Send {sats(amount)} sats")
        await self.desk.retry_refunds()
        return said("refunds", "refunds")

    async def audit(self, _request: Request, _form: Mapping[str, str], _who: SignedIn) -> Response:
        self.desk.begin_audit()
        return said("audit", "books")


def said(what: str, where: str) -> Response:
    return see(f"/admin?said={what}#{where}")


def routes(house: WebHouse, desk: OperatorsDesk, keys: OperatorKeys) -> tuple[BaseRoute, ...]:
    pages = OperatorPages(house, desk, keys)

    def at(method: str, path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> BaseRoute:
        return PageRoute(path, told_on_a_page(endpoint), methods=[method])

    return (
        at("GET", "/admin", pages.show),
        at("GET", "/admin/jobs/{jobId}", pages.job),
        at("POST", "/admin/sign-in", pages.sign_in),
        at("POST", "/admin/sign-out", pages.acts(pages.sign_out)),
        at("POST", "/admin/stop", pages.acts(pages.stop)),
        at("POST", "/admin/go-on", pages.acts(pages.go_on)),
        at("POST", "/admin/tasks/retry", pages.acts(pages.retry_task)),
        at("POST", "/admin/refunds/retry", pages.acts(pages.retry_refunds)),
        at("POST", "/admin/audit", pages.acts(pages.audit)),
    )
