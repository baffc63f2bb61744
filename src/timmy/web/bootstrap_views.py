"""An order of a node, as its owner sees it on the wire; and what is read from the bodies about it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.requests import Request

from timmy.bootstrap.call_home import Report
from timmy.bootstrap.desk import CallHomeTokenInvalid, ClaimTokenInvalid
from timmy.bootstrap.keys import PUBLIC_KEY_CHARS_MAX
from timmy.bootstrap.model import BootstrapView, InvoiceView, KeyKind, KeyState, KeyView, RefundView, State
from timmy.bootstrap.protocol import Destination, ToInvoice, ToLightningAddress, ToLnurl, Wanted
from timmy.clock import iso
from timmy.jobs import protocol as jobs
from timmy.web import fields
from timmy.web.refusals import FieldMissing, FieldWrongType

CLAIM_HEADER = "x-claim-token"
TOKEN = re.compile(r"[!-~]{1,128}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
ADDRESS_CHARS_MAX = 300

Shown = dict[str, object]


# what is sent to us ---------------------------------------------------------------------------------------


def wanted(document: Mapping[str, object]) -> Wanted:
    fields.only(document, ("keyType", "sshPublicKey", "refundTo"))
    public_key = fields.optional_text(document, "sshPublicKey", PUBLIC_KEY_CHARS_MAX)
    kind = fields.optional_text(document, "keyType", 20)
    choices = [KeyKind.ED25519.value, KeyKind.RSA_4096.value]
    if kind is not None and kind not in choices:
        raise FieldWrongType(f"keyType must be one of {', '.join(choices)}.", field="keyType", allowed=choices)
    if kind is not None and public_key is not None:
        raise FieldWrongType("Give keyType or sshPublicKey, not both: with a key of your own, none is made.", field="keyType")
    refund_to = fields.optional_text(document, "refundTo", fields.ADDRESS_CHARS_MAX)
    return Wanted(KeyKind(kind or KeyKind.ED25519), public_key, refund_to)


def destination(document: Mapping[str, object]) -> Destination:
    match fields.destination(document):
        case jobs.ToInvoice(payment_request=text):
            return ToInvoice(text)
        case jobs.ToLightningAddress(address=text):
            return ToLightningAddress(text)
        case jobs.ToLnurl(lnurl=text):
            return ToLnurl(text)


def claim_token(request: Request) -> str | None:
    given = request.headers.getlist(CLAIM_HEADER)
    if not given:
        return None
    if len(given) > 1 or TOKEN.fullmatch(given[0]) is None:
        raise ClaimTokenInvalid("X-Claim-Token must be the claimToken of the answer that created the order, once.")
    return given[0]


def call_home_token(request: Request) -> str:
    given = request.headers.getlist("authorization")
    word, _, token = given[0].strip().partition(" ") if len(given) == 1 else ("", "", "")
    if word.lower() != "bearer" or TOKEN.fullmatch(token.strip()) is None:
        raise CallHomeTokenInvalid("Send the token that this machine was given as Authorization: Bearer.")
    return token.strip()


def report(document: Mapping[str, object]) -> Report:
    """A machine of another version may say more than we know; what it must say is here."""
    if document.get("state") != "ready":
        raise FieldWrongType('state must be "ready": a machine calls when its node answers, and not before.', field="state")
    for name in ("bitcoin", "lnd"):
        if name not in document:
            raise FieldMissing(f"{name} is missing: what it has just said of itself.", field=name)
        if not isinstance(document[name], dict):
            raise FieldWrongType(f"{name} must be an object: what it has just said of itself.", field=name)
    url = fields.optional_text(document, "lnbitsUrl", ADDRESS_CHARS_MAX)
    if url is None:
        raise FieldMissing("lnbitsUrl is missing: where LNbits has just answered.", field="lnbitsUrl")
    if not url.startswith(("http://", "https://")) or not url.isprintable():
        raise FieldWrongType("lnbitsUrl must be an http(s) address.", field="lnbitsUrl")
    host = fields.optional_text(document, "tailscaleName", ADDRESS_CHARS_MAX)
    if host is not None and NAME.fullmatch(host) is None:
        raise FieldWrongType("tailscaleName must be the name of a host.", field="tailscaleName")
    return Report(url, host)


# what is answered -----------------------------------------------------------------------------------------


def created(view: BootstrapView) -> Shown:
    """The answer to an order. It tells how the order began, and not where it has got to: asked again with the same key, it is the same."""
    return {
        "bootstrapJobId": view.id,
        "state": State.AWAITING_PAYMENT.value,
        "createdAt": iso(view.created_at_ms),
        "rehearsal": view.is_rehearsal,
        "invoice": _invoice(view.invoice),
        "claimToken": view.claim_token,
    }


def bootstrap(view: BootstrapView, private_key: str | None = None) -> Shown:
    """All that belongs to an order; what does not exist (yet) is null."""
    return {
        "bootstrapJobId": view.id,
        "state": view.state.value,
        "createdAt": iso(view.created_at_ms),
        "completedAt": None if view.completed_at_ms is None else iso(view.completed_at_ms),
        "rehearsal": view.is_rehearsal,
        "rehearsalNote": REHEARSAL_NOTE if view.is_rehearsal else None,
        "invoice": _invoice(view.invoice),
        "progress": view.progress,
        "reason": view.reason,
        "trouble": view.trouble,
        "address": view.address,
        "tailscaleName": view.tailscale_name,
        "lnbitsUrl": view.lnbits_url,
        "sshUser": "root" if view.address else None,
        "sshKey": _key(view.key),
        "sshPrivateKey": private_key,
        "nextSteps": next_steps(view) if view.state is State.READY else [],
        "refund": _refund(view.refund),
        "refundTo": view.refund_to,
    }


REHEARSAL_NOTE = "This is a rehearsal: no machine was rented, and nobody is at its address."


def next_steps(view: BootstrapView) -> list[str]:
    own = view.key.kind is KeyKind.OWN
    steps = [
        *(() if own else ("Save sshPrivateKey to a file named node_key, and run: chmod 600 node_key",)),
        f"Log in: ssh {'' if own else '-i node_key '}root@{view.address}",
        "Watch Bitcoin catch up with the chain: /opt/timmy-node/ops.sh sync",
        "Look at Lightning and LNbits: /opt/timmy-node/ops.sh lnd, /opt/timmy-node/ops.sh lnbits",
        "Save what only root can read on the node (the wallet's words, the keys), and keep it elsewhere: /opt/timmy-node/ops.sh backup",
    ]
    through = f"ssh {'' if own else '-i node_key '}-L 5000:127.0.0.1:5000 root@{view.address}"
    steps.append(f"Open LNbits: {through}, and then http://127.0.0.1:5000")
    if view.tailscale_name:  # that network is the seller's: a customer has no device in it
        steps.append(
            f"The node has joined the seller's private network, where LNbits is {view.lnbits_url}; leave it with: tailscale logout"
        )
    return steps


def _key(key: KeyView) -> Shown:
    return {
        "type": key.kind.value,
        "state": key.state.value,
        "publicKey": key.public_key,
        "deliveredAt": None if key.delivered_at_ms is None else iso(key.delivered_at_ms),
        "againUntil": None if key.again_until_ms is None else iso(key.again_until_ms),
        "note": _NOTES[key.state],
    }


_NOTES = {
    KeyState.OWN: "Your own key opens the machine; none was made here.",
    KeyState.NOT_YET: "The private key is handed over once, to whoever asks first when the node is ready.",
    KeyState.WAITING: "The private key waits for whoever asks first: GET this order.",
    KeyState.DELIVERED: "The private key was handed over. Until againUntil, X-Claim-Token with the order's claimToken gets it again.",
    KeyState.ERASED: "The private key is erased, or did not come back with a backup: nobody here can read it any more.",
}


def _invoice(view: InvoiceView) -> Shown:
    return {
        "paymentRequest": view.payment_request,
        "paymentHash": view.payment_hash,
        "amountSats": view.amount.value,
        "expiresAt": iso(view.expires_at_ms),
    }


def _refund(refund: RefundView) -> Shown:
    return {
        "state": refund.state.value,
        "owedSats": refund.owed.value,
        "paidSats": refund.paid.value,
        "creditMsat": refund.credit.value,
        "destination": refund.destination,
        "trouble": refund.trouble,
    }
