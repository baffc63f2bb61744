"""What the web room itself says no to: before any other room has been asked."""

from __future__ import annotations

from timmy.errors import NotFound, Outage, Refusal

# The envelope ------------------------------------------------------------------------------------------


class RateLimited(Refusal):
    """`retryAfterSeconds`, as in the header `Retry-After`."""

    status = 429
    code = "rate_limited"
    title = "Too many of these from your address"

    def __init__(self, message: str = "", *, retry_after_seconds: int = 1) -> None:
        super().__init__(message, retryAfterSeconds=retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds


class RequestMalformed(Refusal):
    code = "request_malformed"
    title = "The request is not HTTP as it can be read here"


class HeadersTooLarge(Refusal):
    status = 431
    code = "headers_too_large"
    title = "Too many or too large request headers"


class RouteNotFound(NotFound):
    code = "route_not_found"
    title = "There is no such address here"


class MethodNotAllowed(Refusal):
    status = 405
    code = "method_not_allowed"
    title = "This address does not take that method"


class OriginNotAllowed(Refusal):
    status = 403
    code = "origin_not_allowed"
    title = "Pages of that origin may not call this server"


class IdempotencyKeyInvalid(Refusal):
    status = 422
    code = "idempotency_key_invalid"
    title = "The Idempotency-Key is not usable"


class IdentityWanted(Refusal):
    status = 401
    code = "identity_wanted"
    title = "This is about a key, and none was shown"


class IdentitiesDisagree(Refusal):
    """To pick one would be to do something in the name of somebody who may not have asked for it."""

    status = 401
    code = "identities_disagree"
    title = "Two keys were shown, and they differ"


class MacaroonWanted(Refusal):
    status = 401
    code = "macaroon_wanted"
    title = "This needs a session's macaroon"


class NarrowedKey(Refusal):
    status = 403
    code = "narrowed_key"
    title = "That is not the balance's own key"


class AdminTokenWanted(Refusal):
    status = 401
    code = "admin_token_wanted"
    title = "This is for the operator"


# The body, before it means anything ----------------------------------------------------------------------


class UnsupportedMediaType(Refusal):
    status = 415
    code = "unsupported_media_type"
    title = "The body must be JSON"


class BodyTooLarge(Refusal):
    status = 413
    code = "body_too_large"
    title = "The body is too large"


class BodyTooSlow(Refusal):
    status = 408
    code = "body_too_slow"
    title = "The body did not arrive in time"


class FormStale(Refusal):
    status = 403
    code = "form_stale"
    title = "That form cannot be used any more"


class FormMalformed(Refusal):
    code = "form_malformed"
    title = "The form could not be read"


class InvalidJson(Refusal):
    code = "invalid_json"
    title = "The body is not JSON"


class JsonNotFinite(Refusal):
    """`NaN` and `Infinity` are not JSON (RFC 8259 section 6), and 1e999 is no number that could be kept."""

    code = "json_number_invalid"
    title = "The body holds something that is not a finite number"


class JsonDuplicateKey(Refusal):
    """RFC 8259 section 4 leaves open which of two wins, so two readers could see two different requests."""

    code = "json_duplicate_key"
    title = "The body names a field twice"


class JsonTooDeep(Refusal):
    code = "json_too_deep"
    title = "The body is nested too deeply"


class JsonNotObject(Refusal):
    status = 422
    code = "json_not_object"
    title = "The body must be a JSON object"


class TextInvalid(Refusal):
    """NUL and lone surrogates cannot be stored as text, nor shown to anyone."""

    status = 422
    code = "text_invalid"
    title = "The body holds characters that are no text"


# The fields ----------------------------------------------------------------------------------------------


class FieldUnknown(Refusal):
    status = 422
    code = "field_unknown"
    title = "The body has fields that mean nothing here"


class FieldRepeated(Refusal):
    """Which of the two counts, two readers would see differently."""

    status = 422
    code = "field_repeated"
    title = "A field is given twice"


class RequestMissing(Refusal):
    status = 422
    code = "request_missing"
    title = "The request is missing"


class RequestEmpty(Refusal):
    status = 422
    code = "request_empty"
    title = "The request is empty"


class RequestTooLong(Refusal):
    status = 422
    code = "request_too_long"
    title = "The request is too long"


class RequestWrongType(Refusal):
    status = 422
    code = "request_wrong_type"
    title = "The request must be text"


class FieldMissing(Refusal):
    status = 422
    code = "field_missing"
    title = "A field is missing"


class FieldEmpty(Refusal):
    status = 422
    code = "field_empty"
    title = "A field is empty"


class FieldTooLong(Refusal):
    status = 422
    code = "field_too_long"
    title = "A field is too long"


class FieldWrongType(Refusal):
    status = 422
    code = "field_wrong_type"
    title = "A field has the wrong type"


class WholeOutOfRange(Refusal):
    """`min`, `max`."""

    status = 422
    code = "number_out_of_range"
    title = "That number is not possible here"


class SatsOutOfRange(Refusal):
    status = 422
    code = "sats_out_of_range"
    title = "That many sats are too many or too few here"


class DestinationMissing(Refusal):
    status = 422
    code = "destination_missing"
    title = "Where the refund should go is missing"


class DestinationAmbiguous(Refusal):
    status = 422
    code = "destination_ambiguous"
    title = "A refund goes to one place"


# Addresses -------------------------------------------------------------------------------------------------


class InvoiceNotFound(NotFound):
    code = "invoice_not_found"
    title = "There is no such invoice here"


# Ourselves ---------------------------------------------------------------------------------------------------


class NotReady(Outage):
    code = "not_ready"
    title = "This server cannot take jobs right now"


class StreamsFull(Outage):
    code = "streams_full"
    title = "Too many open event streams"
