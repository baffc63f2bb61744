"""Private keys: in OpenSSH's own form, sealed while they lie here, and unreadable once their seal is gone."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from timmy.bootstrap.keys import FOLDER_MARK, KeyRoom, PublicKeyInvalid, SealBroken, make_pair, md5_fingerprint, read_public_key
from timmy.bootstrap.model import KeyKind

ORDER, OTHER = "bst_aaaaaaaaaaaaaaaaaaaaaaaaaa", "bst_bbbbbbbbbbbbbbbbbbbbbbbbbb"


@pytest.fixture
def room(tmp_path: Path) -> KeyRoom:
    return KeyRoom(tmp_path / "seals", os.urandom)


@pytest.mark.parametrize("kind", [KeyKind.ED25519, KeyKind.RSA_4096])
def test_both_halves_belong_together_and_ssh_reads_them(kind: KeyKind, tmp_path: Path) -> None:
    pair = make_pair(kind, "timmy-node")
    private = load_ssh_private_key(pair.private.encode(), None)
    public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert pair.public == f"{public} timmy-node"
    assert not isinstance(private, rsa.RSAPrivateKey) or private.key_size == 4096
    assert "PRIVATE" not in repr(pair)


def test_a_fingerprint_is_what_clouds_call_a_key_by() -> None:
    public = make_pair(KeyKind.ED25519, "x").public
    assert md5_fingerprint(public) == md5_fingerprint(public.rsplit(" ", 1)[0]), "the comment does not count"
    assert len(md5_fingerprint(public).split(":")) == 16


@pytest.mark.fault("G04")
def test_what_is_sealed_opens_for_its_order_alone_and_never_after_its_seal_is_gone(room: KeyRoom) -> None:
    sealed, other = room.seal(ORDER, "a private key"), room.seal(OTHER, "another")
    assert room.open(ORDER, sealed) == "a private key"
    assert b"a private key" not in base64.b64decode(sealed)
    with pytest.raises(SealBroken):
        room.open(OTHER, sealed)
    room.destroy(ORDER)
    room.destroy(ORDER)
    with pytest.raises(SealBroken):
        room.open(ORDER, sealed)
    assert room.open(OTHER, other) == "another"
    room.seal(ORDER, "made anew")
    with pytest.raises(SealBroken):
        room.open(ORDER, sealed)


@pytest.mark.parametrize("at", [0, 5, 20, -1])
def test_what_was_changed_does_not_open(room: KeyRoom, at: int) -> None:
    data = bytearray(base64.b64decode(room.seal(ORDER, "a private key")))
    data[at] ^= 1
    with pytest.raises(SealBroken):
        room.open(ORDER, base64.b64encode(data).decode())


def test_only_the_house_may_read_the_seals_and_backups_leave_them_out(room: KeyRoom, tmp_path: Path) -> None:
    room.seal(ORDER, "a private key")
    folder = tmp_path / "seals"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / ORDER).stat().st_mode) == 0o600
    subprocess.run(
        ["tar", "--exclude-caches-all", "-cf", tmp_path / "backup.tar", "-C", tmp_path, "seals"], check=True, capture_output=True
    )
    listed = subprocess.run(["tar", "-tf", tmp_path / "backup.tar"], check=True, capture_output=True, text=True).stdout
    assert ORDER not in listed
    assert (folder / FOLDER_MARK).exists()


def test_a_destroyed_seal_is_written_over_before_it_goes(room: KeyRoom, tmp_path: Path) -> None:
    room.seal(ORDER, "a private key")
    path = tmp_path / "seals" / ORDER
    key = path.read_text()
    os.link(path, tmp_path / "held")  # as if somebody could read what lies where the file was
    room.destroy(ORDER)
    assert not path.exists()
    assert (tmp_path / "held").read_text() == "0" * len(key)


def test_a_customer_s_own_key_is_taken_without_its_comment() -> None:
    public = make_pair(KeyKind.ED25519, "alice@laptop").public
    assert read_public_key(f"  {public}\n") == public.removesuffix(" alice@laptop")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-dss AAAAB3NzaC1kc3M=",
        'command="rm -rf /" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGpmZ2hqa2w7",',
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= a\nssh-rsa b",
    ],
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(PublicKeyInvalid):
        read_public_key(text)


def test_a_point_that_is_shortened_is_refused_as_ssh_does() -> None:
    point = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    name = b"ecdsa-sha2-nistp256"
    data = b"".join(len(part).to_bytes(4) + part for part in (name, b"nistp256", point))
    with pytest.raises(PublicKeyInvalid):
        read_public_key(f"{name.decode()} {base64.b64encode(data).decode()}")


def test_a_weak_key_is_refused() -> None:
    weak = rsa.generate_private_key(65537, 1024).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    with pytest.raises(PublicKeyInvalid, match="too weak"):
        read_public_key(weak)
