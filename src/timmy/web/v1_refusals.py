"""What /v1 says no to by itself, in the words of OpenAI's API where it has them."""

from __future__ import annotations

from timmy.errors import Refusal


class ParamUnknown(Refusal):
    """`param`. A field that is passed over silently may change what is bought, or what it costs."""

    code = "unknown_parameter"
    title = "The body has a field that is not taken here"


class ParamMissing(Refusal):
    """`param`"""

    code = "missing_parameter"
    title = "The body lacks a field"


class ParamInvalid(Refusal):
    """`param`"""

    code = "invalid_parameter"
    title = "A field of the body is not usable"


class PaymentRequired(Refusal):
    """The offer is in `WWW-Authenticate`, and its invoice in `metadata.invoice`."""

    status = 402
    code = "payment_required"
    title = "This has to be paid for first"


class PreimageWrong(Refusal):
    status = 401
    code = "preimage_wrong"
    title = "That preimage is not the one of the macaroon's invoice"


class CredentialMalformed(Refusal):
    status = 401
    code = "credential_malformed"
    title = "The Authorization header cannot be read"
