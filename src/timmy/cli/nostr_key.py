"""A Nostr key of this person's: made or brought, kept, and logged in with."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import typer
from bech32 import bech32_decode, convertbits
from coincurve import PrivateKey

from timmy.cli.buyer import STOPPED, tell
from timmy.cli.screen import fail
from timmy.client import Notebook, store
from timmy.client.answers import maybe_text, moment_ms, part, text, whole
from timmy.client.http import TimmyHttp
from timmy.clock import SECOND_MS, SystemClock
from timmy.identity import kept_secret, nostr
from timmy.identity.login import CLIENT_AUTH
from timmy.ids import system_random

ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141  # secp256k1's n: keys are 1 … n-1


def public(secret: bytes) -> str:
    return PrivateKey(secret).public_key_xonly.format().hex()


async def log_in(url: str, secret: bytes) -> dict[str, Any]:
    """One signature for one nonce of the server's. The event names the site, so that no other server can use it there."""
    http = TimmyHttp(url)
    notebook = Notebook()
    try:
        challenge = text(await http.post("/api/identity/challenge", {}), "nonce")
        if not nostr.HEX_32.fullmatch(challenge):
            fail("The server's challenge is none. Is a Timmy running there?")
            raise typer.Exit(2)
        event = nostr.sign(
            secret,
            created_at=SystemClock().now_ms() // SECOND_MS,
            kind=CLIENT_AUTH,
            tags=[["relay", url], ["challenge", challenge]],
            content="",
            aux=system_random(32),
        )
        done = await http.post("/api/identity/verify", {"event": nostr.document(event)})
        token = text(done, "nostr_token")
        await notebook.do(store.keep_login, url, token, moment_ms(done, "expiresAt"))
    finally:
        await http.aclose()
    known = TimmyHttp(url, token=token)
    try:
        return await known.get("/api/identity/me")
    finally:
        await known.aclose()


def rows_of(me: dict[str, Any]) -> list[tuple[str, str]]:
    today = part(me, "today")
    above = me.get("nextTier")
    rows = [
        ("key", text(me, "npub")),
        ("tier", text(me, "trust_tier")),
        ("score", str(me.get("score"))),
        ("free today", f"{whole(today, 'leftSats')} of {whole(today, 'budgetSats')} sats ({maybe_text(today, 'day')}, UTC)"),
    ]
    if isinstance(above, dict):
        rows.append(("next tier", f"{text(above, 'tier')}, with {whole(above, 'missing')} more"))
    return rows


def own_key(path: Path) -> bytes:
    try:
        return kept_secret(path, system_random)
    except ValueError as trouble:
        fail(f"{path} does not hold a key. Restore it from your copy, or remove it for a new one. ({type(trouble).__name__})")
        raise typer.Exit(2) from None


def bring(path: Path) -> None:
    if path.exists():
        fail(f"There is a key in {path} already. Move it away first: what it has earned is nobody's without it.")
        raise typer.Exit(2)
    try:
        given = typer.prompt("nsec or hex", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    except (typer.Abort, KeyboardInterrupt):
        tell("\nStopped. No key was brought.", "yellow")
        raise typer.Exit(STOPPED) from None
    secret = read_key(given.strip())
    if secret is None:
        fail("That is no Nostr key: nsec1…, or 64 hex digits.")
        raise typer.Exit(2)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret.hex())


def read_key(given: str) -> bytes | None:
    """NIP-19's nsec, or hex; None for what is no key."""
    if nostr.HEX_32.fullmatch(given.lower()):
        octets = bytes.fromhex(given)
    else:
        prefix, words = bech32_decode(given)
        converted = convertbits(words, 5, 8, False) if prefix == "nsec" and words else None
        octets = bytes(converted) if converted is not None else b""
    return octets if len(octets) == 32 and 0 < int.from_bytes(octets) < ORDER else None
