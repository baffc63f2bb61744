"""Keys, estimates and the pool over HTTP: log in, see what a key has earned, ask what something would cost and what would be given."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from timmy.pricing.book import UnknownModel
from timmy.web import fields, people_views, problems, refusals
from timmy.web.bodies import read_object, read_signed
from timmy.web.callers import caller_of, known_caller_of
from timmy.web.examples import CHALLENGE, ESTIMATE, EVENT, LOGIN, ME, POOL
from timmy.web.house import WebHouse
from timmy.web.operations import ANYBODY, WHO, Document, Operation, Sends, Takes
from timmy.web.render import Json, private


class PeopleRoutes:
    def __init__(self, house: WebHouse) -> None:
        self.house = house

    async def challenge(self, request: Request) -> Response:
        with self.house.logins.passing(request):
            return private(people_views.challenge(await self.house.identity.challenge()))

    async def verify(self, request: Request) -> Response:
        document = await read_object(request, bytes_max=self.house.settings.max_body_bytes)
        wanted = fields.login(document)
        return private(people_views.login(await self.house.identity.verify(wanted.event, pubkey=wanted.pubkey)))

    async def me(self, request: Request) -> Response:
        standing = await known_caller_of(self.house.identity, request)
        return private(people_views.me(standing, await self.house.profile(standing), self.house.identity.terms))

    async def pool(self, _request: Request) -> Response:
        status, daily = await self.house.giving.pool()
        return Json(people_views.pool(status, daily, frozen=await self.house.pool_frozen()))

    async def estimate_by_query(self, request: Request) -> Response:
        return await self._estimate(request, fields.query(request, ("request", "model")), b"")

    async def estimate_by_body(self, request: Request) -> Response:
        document, raw = await read_signed(request, bytes_max=self.house.settings.max_body_bytes)
        return await self._estimate(request, document, raw)

    async def _estimate(self, request: Request, document: dict[str, object], raw: bytes) -> Response:
        wanted = fields.estimate_wanted(document, request_chars_max=self.house.settings.max_request_chars)
        caller = await caller_of(self.house.identity, request, raw, wanted.nostr_token)
        return private(people_views.estimate(await self.house.giving.estimate(wanted.request, model=wanted.model, who=caller)))


# Described ------------------------------------------------------------------------------------------------

FIELD_REFUSALS = (
    refusals.FieldUnknown,
    refusals.RequestMissing,
    refusals.RequestEmpty,
    refusals.RequestTooLong,
    refusals.RequestWrongType,
    refusals.FieldEmpty,
    refusals.FieldTooLong,
    refusals.FieldWrongType,
)

ABOUT_VERIFY = """\
Sign an event that carries the nonce: of kind 22242 (NIP-42) with a `challenge` tag, or of kind 27235 (NIP-98) with the nonce in a
`challenge` tag or as its content. A browser extension does it with `window.nostr.signEvent` (NIP-07). A `relay` or `u` tag must name this
server, if there is one. The nonce counts once. With `pubkey` (hex or npub) the event must be that key's."""

ABOUT_ME = """\
The score, why it is what it is, and what the next tier needs. Only work that was paid for raises a score. After some days of absence it
fades, and the fading counts before anything else does."""

ABOUT_POOL = """\
A part of every paid charge goes into the pool, and from it work is given: to each key up to a daily budget that its tier has, and never
more than the pool holds. `balanceSats` is all that it holds, `reservedSats` the part that is promised to work under way. `whyNot` says for
what reasons somebody would be asked the full price right now."""

ABOUT_ESTIMATE = """\
What work on this request would cost if it were ordered now, and what the pool would do about it. It changes nothing, however often it is
asked, and promises nothing: prices move, and somebody else may be helped first. `evalFeeSats` comes on top for a job.
The identity is shown by `X-Nostr-Token` or NIP-98."""


def operations(house: WebHouse) -> tuple[Operation, ...]:
    routes = PeopleRoutes(house)
    return (*_identity(routes), *_giving(routes, house.settings.max_request_chars))


def _identity(routes: PeopleRoutes) -> tuple[Operation, ...]:
    return (
        Operation(
            method="POST",
            path="/api/identity/challenge",
            name="challenge",
            summary="A nonce to be signed",
            about="Good for one login within five minutes. Takes no body.",
            endpoint=routes.challenge,
            sends=(Sends(200, "The nonce.", "Challenge", example=CHALLENGE),),
            refuses=(refusals.RateLimited,),
            tag="identity",
        ),
        Operation(
            method="POST",
            path="/api/identity/verify",
            name="verifyIdentity",
            summary="Log in with a signed event",
            about=ABOUT_VERIFY,
            endpoint=routes.verify,
            takes=Takes(
                "LoginEvent", {"nip42": {"value": {"event": EVENT}}, "named": {"value": {"event": EVENT, "pubkey": EVENT["pubkey"]}}}
            ),
            sends=(Sends(200, "A token, and how its key stands.", "Login", example=LOGIN),),
            refuses=(
                refusals.FieldUnknown,
                refusals.FieldMissing,
                refusals.FieldWrongType,
                refusals.FieldEmpty,
                refusals.FieldTooLong,
                *problems.LOGIN,
                *(kind for kind in problems.IDENTITY if kind.__module__ != "timmy.identity.tokens"),
            ),
            tag="identity",
        ),
        Operation(
            method="GET",
            path="/api/identity/me",
            name="me",
            summary="What a key has earned",
            about=ABOUT_ME,
            endpoint=routes.me,
            sends=(Sends(200, "How the key stands.", "Me", example=ME),),
            refuses=(refusals.IdentityWanted, *problems.IDENTITY),
            proof=WHO,
            tag="identity",
        ),
    )


def _giving(routes: PeopleRoutes, request_chars_max: int) -> tuple[Operation, ...]:
    return (
        Operation(
            method="GET",
            path="/api/pool",
            name="pool",
            summary="The generosity pool",
            about=ABOUT_POOL,
            endpoint=routes.pool,
            sends=(Sends(200, "How the pool stands.", "Pool", example=POOL),),
            tag="pool",
        ),
        Operation(
            method="GET",
            path="/api/estimate",
            name="estimate",
            summary="What something would cost",
            about=ABOUT_ESTIMATE,
            endpoint=routes.estimate_by_query,
            sends=(Sends(200, "The estimate.", "Estimate", example=ESTIMATE),),
            refuses=(*FIELD_REFUSALS, refusals.FieldRepeated, refusals.TextInvalid, UnknownModel, *problems.IDENTITY),
            parameters=(
                query_parameter("request", "What should be done.", request_chars_max, required=True),
                query_parameter("model", "Another model than the server's own for work.", fields.MODEL_CHARS_MAX),
            ),
            proof=ANYBODY,
            tag="pool",
        ),
        Operation(
            method="POST",
            path="/api/estimate",
            name="estimateOfBody",
            summary="What something would cost, asked in private",
            about="The same as GET, so that a request need not stand in an access log.",
            endpoint=routes.estimate_by_body,
            takes=Takes(
                "EstimateWanted",
                {
                    "plain": {"value": {"request": "Write a haiku about rain."}},
                    "known": {"value": {"request": "Write a haiku about rain.", "nostr_token": LOGIN["nostr_token"]}},
                },
            ),
            sends=(Sends(200, "The estimate.", "Estimate", example=ESTIMATE),),
            refuses=(*FIELD_REFUSALS, UnknownModel, *problems.IDENTITY),
            proof=ANYBODY,
            tag="pool",
        ),
    )


def query_parameter(name: str, about: str, chars_max: int, *, required: bool = False) -> Document:
    schema = {"type": "string", "minLength": 1, "maxLength": chars_max, "pattern": r"\S"}
    return {"name": name, "in": "query", "required": required, "description": about, "schema": schema}
