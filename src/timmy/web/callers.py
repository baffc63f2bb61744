"""Who sent this request: the one place where a request's identity is read, whatever way it is shown.

Nothing shown is nobody: anonymous. Something shown that is no good is a 401 with a code of its own, and never nobody: whoever shows a key
wants to be known by it, and would otherwise pay full price, or lose what the key has earned, without a word.
"""

from __future__ import annotations

from starlette.requests import Request

from timmy.identity import SignedRequest, Standing
from timmy.web.house import IdentityDesk
from timmy.web.refusals import IdentitiesDisagree, IdentityWanted

NOSTR = "nostr "


async def caller_of(desk: IdentityDesk, request: Request, body: bytes = b"", nostr_token: str | None = None) -> Standing | None:
    """The key behind the request; None if it shows none.

    It may be shown by the body's `nostr_token`, by `X-Nostr-Token` and by `Authorization: Nostr …` (NIP-98); all that are shown must be
    good and name one key. A NIP-98 event counts once, so this comes after everything else in the request was found to be in order.
    """
    tokens = request.headers.getlist("x-nostr-token")
    if nostr_token is not None:
        tokens.append(nostr_token)
    known = [await desk.who(token) for token in tokens]
    for header in request.headers.getlist("authorization"):
        if header[: len(NOSTR)].lower() == NOSTR:
            known.append(await desk.who_signed(header[len(NOSTR) :], signed_request(request, body)))
    if len({standing.pubkey for standing in known}) > 1:
        raise IdentitiesDisagree("This request shows two different keys, and it is not clear who is asking. Show one of them.")
    return known[0] if known else None


async def known_caller_of(desk: IdentityDesk, request: Request) -> Standing:
    """The same where there must be somebody."""
    caller = await caller_of(desk, request)
    if caller is None:
        raise IdentityWanted("Say who you are: X-Nostr-Token with the token of /api/identity/verify, or Authorization: Nostr (NIP-98).")
    return caller


def signed_request(request: Request, body: bytes) -> SignedRequest:
    """Path and query as they were sent: a decoded and encoded again query would not be the one that was signed."""
    path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query: bytes = request.scope["query_string"]
    target = path.partition(b"?")[0] + (b"?" + query if query else b"")
    return SignedRequest(request.method, target.decode("latin-1"), body)


def principal(caller: Standing | None) -> str:
    """Whose an Idempotency-Key is."""
    return caller.pubkey if caller else "anonymous"
