"""What somebody who names a place to be paid at can be told: the same for a refund and for a session's rest."""

from __future__ import annotations

from timmy.errors import TimmyError
from timmy.idempotency import KeyReused
from timmy.lightning import bolt11, lnurl, payouts
from timmy.lightning.wallets.protocol import WalletDown
from timmy.web import refusals

PAYOUT_REFUSALS: tuple[type[TimmyError], ...] = (
    refusals.FieldUnknown,
    refusals.DestinationMissing,
    refusals.DestinationAmbiguous,
    refusals.FieldEmpty,
    refusals.FieldTooLong,
    refusals.FieldWrongType,
    refusals.IdempotencyKeyInvalid,
    KeyReused,
    bolt11.InvalidInvoice,
    bolt11.InvoiceWrongNetwork,
    bolt11.InvoiceExpired,
    bolt11.InvoiceAmountless,
    bolt11.InvoiceAmountMismatch,
    lnurl.LightningAddressMalformed,
    lnurl.DestinationForbidden,
    lnurl.DestinationRefused,
    lnurl.AmountOutOfRange,
    lnurl.DestinationInvoiceWrong,
    lnurl.DestinationDown,
    payouts.NothingOwed,
    payouts.PayoutInProgress,
    payouts.InvoiceUsed,
    payouts.InvoiceIsOurs,
    payouts.TooManyPayouts,
    WalletDown,
)
