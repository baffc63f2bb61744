"""Kinds of values that are kept in files of somebody else's: LND's macaroon and certificate."""

from __future__ import annotations

import re
from pathlib import Path

from timmy.settings.kinds import HIDDEN, Explained, Kind, Secret

FILE_BYTES_MAX = 64 * 1024
MACAROON_HEX = re.compile(r"(?:[0-9a-f]{2}){32,4096}", re.IGNORECASE)


def macaroon() -> Kind[Secret]:
    """The macaroon's hex, or the path of the file that it is in. It is read here, so that the logs know what they must not say."""
    return Kind(lambda text: Secret(read_macaroon(text)), "a macaroon's file, or its hex", lambda _: HIDDEN, secret=True)


def read_macaroon(text: str) -> str:
    """Its hex. A ValueError, which tells neither path nor macaroon, when there is none."""
    if MACAROON_HEX.fullmatch(text):
        return text.lower()
    raw = _read(text)
    written = raw.strip().decode("latin-1")
    return written.lower() if MACAROON_HEX.fullmatch(written) else raw.hex()


def certificate() -> Kind[Path]:
    """A file with a certificate in PEM, such as LND's tls.cert."""

    def parse(text: str) -> Path:
        if b"-----BEGIN CERTIFICATE-----" not in _read(text):
            raise Explained("no certificate in PEM form is in it")
        return Path(text).expanduser().absolute()

    return Kind(parse, "a file with a certificate", str)


def _read(text: str) -> bytes:
    if "\0" in text:
        raise ValueError
    try:
        with Path(text).expanduser().open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except RuntimeError:
        raise Explained("this user has no home folder") from None
    except OSError as error:
        raise Explained(f"it cannot be read ({error.strerror})") from None
    if not raw or len(raw) > FILE_BYTES_MAX:
        raise Explained("it is empty, or too long")
    return raw
