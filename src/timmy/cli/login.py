"""`timmy login`: a Nostr key of yours, and what it has earned at a server."""

from __future__ import annotations

from typing import Annotated

import typer

from timmy.cli import buyer

FILE = "nostr_key"


def login(
    server: buyer.Server = buyer.HERE,
    imported: Annotated[
        bool, typer.Option("--import", help="Bring a key of yours: an nsec or 64 hex digits, asked for and not shown.")
    ] = False,
    whoami: Annotated[bool, typer.Option("--key-only", help="Make or import the key, show it, and go nowhere.")] = False,
) -> None:
    """Log in with a Nostr key, made at the first time, and show your tier and what of the pool is yours today.

    The key is kept with owner-only permissions and never leaves this machine; the login is used by timmy ask from then on.
    """
    from timmy.cli import nostr_key  # here, for --help must not wait for what a login needs
    from timmy.client.notebook import home
    from timmy.identity.nostr import npub

    url = buyer.address(server)
    path = home() / FILE
    if imported:
        nostr_key.bring(path)
    is_new = not path.exists()
    secret = nostr_key.own_key(path)
    pubkey = nostr_key.public(secret)
    if is_new:
        buyer.tell(f"A key was made. It is in {path}: keep a copy, what it earns is yours as long as you have it.")
    if whoami:
        buyer.rows([("npub", npub(pubkey)), ("pubkey", pubkey), ("kept in", str(path))])
        return
    standing = buyer.run(nostr_key.log_in(url, secret))
    buyer.rows(nostr_key.rows_of(standing))
