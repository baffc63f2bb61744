"""Buying from a Timmy, out of Python: jobs, sessions, answers as they are written, and a wallet that pays by itself.

This room promises that no more is spent than was allowed, per call and per day, however many programs pay at once and whenever one of them
is killed; that what was paid is followed to its end and never paid again; and that a server is believed in nothing that costs sats: what an
invoice asks for is read from the invoice.
"""

from timmy.client.asynchronous import AsyncSession, AsyncTimmy
from timmy.client.blocking import Session, Timmy
from timmy.client.buying import Afresh, Answer, Moved, Piece
from timmy.client.notebook import Limits, Notebook
from timmy.client.purses import Purse, WalletPurse

__all__ = [
    "Afresh",
    "Answer",
    "AsyncSession",
    "AsyncTimmy",
    "Limits",
    "Moved",
    "Notebook",
    "Piece",
    "Purse",
    "Session",
    "Timmy",
    "WalletPurse",
]
