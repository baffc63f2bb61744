"""Where sats may come back to: what a person pasted, told apart before anything is paid."""

from __future__ import annotations

from timmy.client.errors import DestinationWrong
from timmy.errors import TimmyError
from timmy.lightning import bolt11, lnurl
from timmy.money import Sats

FORMS = "a Lightning address such as you@wallet.example, an LNURL"
INVOICE, ADDRESS, LNURL = "invoice", "lightningAddress", "lnurl"  # as the server calls them

Place = dict[str, str]


def read(text: str) -> Place:
    """One of `invoice`, `lightningAddress`, `lnurl`, named after the server's field for it. Nobody is asked. Raises DestinationWrong."""
    place = text.strip()
    if lnurl.is_lightning_address(place):
        return {ADDRESS: place}
    bare = place.lower().removeprefix("lightning:").removeprefix("//")
    try:
        if "@" not in place and bare.startswith("lnurl"):
            lnurl.parse_lnurl(place)
            return {LNURL: place}
        if bare.startswith("ln"):
            bolt11.decode(place)
            return {INVOICE: place}
    except TimmyError as wrong:
        raise DestinationWrong(wrong.message) from None
    raise DestinationWrong(f"It is none of these: {FORMS} (lnurl1…, lnurlp://…), an invoice (lnbc…). Copy it again from your wallet.")


def read_for_later(text: str) -> Place:
    """The same where it is not known yet what will come back: an invoice asks for one amount. Raises DestinationWrong."""
    place = read(text)
    if INVOICE in place:
        raise DestinationWrong(f"What will not be used is not known yet, and an invoice asks for one amount. Give {FORMS}.")
    return place


def only_one(*, invoice: str | None, lightning_address: str | None, lnurl: str | None) -> Place | None:
    """The one that was given; None where none was. ValueError for more than one."""
    given = {INVOICE: invoice, ADDRESS: lightning_address, LNURL: lnurl}
    named = {name: text for name, text in given.items() if text is not None}
    if len(named) > 1:
        raise ValueError(f"Sats go back to one place, and these are {len(named)}: {', '.join(named)}.")
    return named or None


async def invoice_of(address: str, amount: Sats, comment: str) -> str:
    """An invoice of an LNURL for exactly so much, asked for from this machine: where the server takes none itself.

    Raises the errors of timmy.lightning.lnurl; nothing was moved then."""
    asking = lnurl.LnurlClient()
    try:
        return await asking.fetch_invoice(address, amount.msats, comment)
    finally:
        await asking.aclose()
