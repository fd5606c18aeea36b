"""Signatures of bundles. Keys and signatures here were made by minisign 0.11; tests/hosts/test_carried.py runs it."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import small_bundle

from provisioner.bundle.layout import bundles_directory
from provisioner.bundle.minisign import PublicKey, SecretKey, Signature, check
from provisioner.bundle.open import open_bundle
from provisioner.bundle.signed import check_signature, read_public_key, sign, signature_path
from provisioner.bundle.tarball import pack
from provisioner.engine.events import silent
from provisioner.errors import ProvisionError

PUBLIC = "RWR6dJFmsDq4hC2tr1OwNJph0ZfzwqCXywkyXJIWyAD4FW+xxhsrsWne"
OTHER = "RWRvGhwrbvlYsl6MfM0MAshHjF9CXbFg9qB/CO04HQhSLbTTbImTHedP"
KEY_FILE = """\
untrusted comment: minisign encrypted secret key
RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAenSRZrA6uIQ+5eOXXdKWUAxKjJflBXZtut+yZePSnhAH0K/\
IR2sXVC2tr1OwNJph0ZfzwqCXywkyXJIWyAD4FW+xxhsrsWneAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
"""
ENCRYPTED = """\
untrusted comment: minisign encrypted secret key
RWRTY0IykSR/zpjS97o27hH9xvKxW/FF3e279fvuG6GUX2wb4H4AAAACAAAAAAAAAEAAAAAA7i8ltPRhT62rdNXgYHVpijJtFqy5tMun4feQ9ZUPNc/50Bo\
YY4gOmL2kBxSyBBOtlnBqXThI+T10FJXhsIiHo7Jg5NuvbmBiP6VoinyM9Lt9TZ75XhrpivAvKNoNL3BcA3vySYQ0MdA=
"""
SIGNED = b"hello\n"
PREHASHED = b"""\
untrusted comment: signature from minisign secret key
RUR6dJFmsDq4hDRTJ4O9Lk3UAaTKRL3nq9qgumRmcAgOeRADNz3YzB7lBKWFZr091Fa7OELIWr1eAIaWnmKHqGdHV84MjiRDlgI=
trusted comment: a comment
aFC866eid/5RJLpNmjKckR6M5haykYjbX0BBR+GlZBz9NJKaFK4ktu0hbaMvN13SBI+8Fo0+q48zL7PzSwBXBQ==
"""
LEGACY = b"""\
untrusted comment: signature from minisign secret key
RWR6dJFmsDq4hFbSSLCqrcN/nOHSES9E9RjLUQEzPuj6YO3YgbaBH1IRQNeGD7z3tVD4oSiprmcUO7npPIU6HBrZGecu7mDNmgw=
trusted comment: timestamp:1795903789\tfile:m
II82GMEa8aHAPVXC2YBEaUwZZy2BUsGqi61umvbKrEUaeDVxM9E1td4bStmU9hDgASvYGRDojW9eVaxET2jwAA==
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_bundle(tmp_path)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "minisign.key").write_text(KEY_FILE)
    return tmp_path / "minisign.key"


def unasked() -> bytes:
    raise AssertionError("the key is not encrypted")


@pytest.mark.parametrize("text", [PREHASHED, LEGACY])
def test_signatures_of_minisign(text: bytes) -> None:
    check(Signature.parse(text), SIGNED, PublicKey.parse(PUBLIC))


@pytest.mark.parametrize("text", [PREHASHED, LEGACY])
def test_each_byte_of_a_signature_counts(text: bytes) -> None:
    """But for the untrusted comment and the ends of lines."""
    key = PublicKey.parse(PUBLIC)
    for at in range(text.index(b"\n") + 1, len(text) - 1):
        spoilt = bytearray(text)
        spoilt[at] ^= 1
        with pytest.raises(ValueError, match=r"^is|^has|codec"):
            check(Signature.parse(bytes(spoilt)), SIGNED, key)


@pytest.mark.parametrize(
    ("data", "key", "words"),
    [
        (b"hello", PUBLIC, "is not of what is here"),
        (SIGNED, OTHER, "is of the key 84B83AB06691747A, not of B258F96E2B1C1A6F"),
        # The other key under this one's number.
        (SIGNED, base64.b64encode(base64.b64decode(PUBLIC)[:10] + base64.b64decode(OTHER)[10:]).decode(), "is not of"),
    ],
)  # fmt: skip
def test_what_was_not_signed(data: bytes, key: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check(Signature.parse(PREHASHED), data, PublicKey.parse(key))


def test_another_trusted_comment() -> None:
    with pytest.raises(ValueError, match="another trusted comment"):
        check(Signature.parse(PREHASHED.replace(b"a comment", b"a Comment")), SIGNED, PublicKey.parse(PUBLIC))


def test_the_second_signature_is_not_taken_from_another_file() -> None:
    """Each half is right, of another whole."""
    mixed = b"\n".join([*LEGACY.split(b"\n")[:2], *PREHASHED.split(b"\n")[2:]])
    with pytest.raises(ValueError, match="another trusted comment"):
        check(Signature.parse(mixed), SIGNED, PublicKey.parse(PUBLIC))


def test_an_open_key() -> None:
    key = SecretKey.parse(KEY_FILE.encode(), unasked)
    assert str(key.public) == PUBLIC
    made = key.sign(SIGNED, "a comment").encode().split(b"\n")
    # ed25519 has no chance in it.
    assert made[1:] == PREHASHED.split(b"\n")[1:]


@pytest.mark.soak
def test_an_encrypted_key() -> None:
    """Its scrypt wants 1 GiB of memory: that is how minisign made it."""
    key = SecretKey.parse(ENCRYPTED.encode(), lambda: b"pass")
    assert str(key.public) == OTHER
    with pytest.raises(ProvisionError, match="the passphrase of the key is wrong"):
        SecretKey.parse(ENCRYPTED.encode(), lambda: b"pas")


@pytest.mark.parametrize("at", [20, 54, 60, 65, 90, 130, 157])
def test_a_damaged_key(at: int) -> None:
    raw = bytearray(base64.b64decode(KEY_FILE.splitlines()[1]))
    raw[at if at > 60 else 2] ^= 1
    raw[157] |= 1
    text = f"untrusted comment: x\n{base64.b64encode(raw).decode()}\n"
    with pytest.raises(ValueError, match=r"damaged|newer"):
        SecretKey.parse(text.encode(), unasked)


def test_a_key_that_asks_for_all_memory() -> None:
    raw = bytearray(base64.b64decode(ENCRYPTED.splitlines()[1]))
    raw[38:54] = b"\xff" * 16
    text = f"untrusted comment: x\n{base64.b64encode(raw).decode()}\n"
    with pytest.raises(ValueError, match="more memory"):
        SecretKey.parse(text.encode(), lambda: b"pass")


def test_a_key_has_the_name_that_minisign_writes() -> None:
    """A number in hexadecimal digits: the last byte comes first, and zeros before it are not written."""
    assert PublicKey(bytes.fromhex("759ebfdf7dc2020a"), bytes(32)).name == "A02C27DDFBF9E75"


def test_public_keys(tmp_path: Path) -> None:
    (tmp_path / "k.pub").write_text(f"untrusted comment: minisign public key\n{PUBLIC}\n")
    for text in (PUBLIC, "k.pub", str(tmp_path / "k.pub")):
        assert read_public_key(text, tmp_path) == PublicKey.parse(PUBLIC)
    (tmp_path / "bad.pub").write_text("-----BEGIN PUBLIC KEY-----\n")
    for text, words in (
        ("bad.pub", r"bad\.pub is no public key of minisign"),
        ("no.pub", "no.pub is no public key"),
        (PUBLIC[:-1], "is no public key of minisign, and no file"),
    ):
        with pytest.raises(ProvisionError, match=words):
            read_public_key(text, tmp_path)


@pytest.mark.parametrize("packed", ["no", "before", "after"])
def test_a_signed_bundle_is_opened(folder: Path, secret: Path, tmp_path: Path, packed: str) -> None:
    """The signature lies beside a file that is signed, and within one that is packed of a signed directory."""
    path = folder
    if packed == "after":
        sign(folder, secret, unasked)
    if packed != "no":
        path = tmp_path / "site.tar"
        pack(folder, path, silent)
    if packed != "after":
        where, public = sign(path, secret, unasked, "by hand")
        assert (where, str(public)) == (signature_path(path), PUBLIC)
    assert path.with_name("site.tar.minisig").exists() == (packed == "before")
    opened = open_bundle(path, silent, PublicKey.parse(PUBLIC))
    assert opened.artifact("kubelet").path.read_bytes() == b"kubelet"
    _, comment = check_signature(path, PublicKey.parse(PUBLIC))
    assert comment == ("by hand" if packed != "after" else f"file:index.json {opened.digest}")
    with pytest.raises(ProvisionError, match="is of the key 84B83AB06691747A"):
        open_bundle(path, silent, PublicKey.parse(OTHER))


def test_what_was_unpacked_before_is_held_against_the_signed_index(
    folder: Path, secret: Path, tmp_path: Path
) -> None:
    path, key = tmp_path / "site.tar", PublicKey.parse(PUBLIC)
    pack(folder, path, silent)
    sign(path, secret, unasked)
    kubelet = open_bundle(path, silent, key).artifact("kubelet").path
    kubelet.chmod(0o644)
    kubelet.write_bytes(b"kubelex")
    with pytest.raises(ProvisionError, match=kubelet.name) as caught:
        open_bundle(path, silent, key)
    assert caught.value.hint == f"delete {kubelet.parents[2]}: it is unpacked anew then"


def test_the_signature_within_does_where_an_older_one_lies_beside(
    folder: Path, secret: Path, tmp_path: Path
) -> None:
    path = tmp_path / "site.tar"
    sign(folder, secret, unasked)
    pack(folder, path, silent)
    signature_path(path).write_bytes(PREHASHED)
    assert check_signature(path, PublicKey.parse(PUBLIC))


def test_another_build_takes_the_signature_away(folder: Path, secret: Path, tmp_path: Path) -> None:
    sign(folder, secret, unasked)
    small_bundle(tmp_path)
    assert signature_path(folder).exists()
    small_bundle(tmp_path, kubelet=b"newer")
    assert not signature_path(folder).exists()


def _unsigned(_: Path) -> None:
    pass


def _empty(path: Path) -> None:
    signature_path(path).write_bytes(b"")


def _of_another(path: Path) -> None:
    signature_path(path).write_bytes(PREHASHED)


def _large(path: Path) -> None:
    signature_path(path).write_bytes(bytes(1 << 20))


def _binary(path: Path) -> None:
    signature_path(path).write_bytes(b"\xff" * 100)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_unsigned, "is not signed: there is no"),
        (_empty, "is no signature of minisign"),
        (_of_another, "is not of what is here"),
        (_large, "which is absurd"),
        (_binary, "can't decode"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_not_signed_is_refused_before_it_is_read(
    folder: Path, tmp_path: Path, packed: bool, spoil: Callable[[Path], None], words: str
) -> None:
    path = folder
    if packed:
        path = tmp_path / "site.tar"
        pack(folder, path, silent)
    spoil(path)
    with pytest.raises(ProvisionError, match=words):
        open_bundle(path, silent, PublicKey.parse(PUBLIC))
    assert not bundles_directory().exists()


def test_a_signed_directory_whose_blobs_are_others(folder: Path, secret: Path) -> None:
    """The index is signed, not what lies beside it: that is compared."""
    sign(folder, secret, unasked)
    path = next(path for path in (folder / "blobs/sha256").iterdir() if path.read_bytes() == b"kubelet")
    path.unlink()
    path.write_bytes(b"kubelex")
    open_bundle(folder)
    with pytest.raises(ProvisionError, match=path.name):
        open_bundle(folder, silent, PublicKey.parse(PUBLIC))


def test_another_index_under_a_right_signature(folder: Path, secret: Path, tmp_path: Path) -> None:
    sign(folder, secret, unasked)
    (tmp_path / "other").mkdir()
    other = small_bundle(tmp_path / "other", kubelet=b"evil")
    shutil.copy(signature_path(folder), signature_path(other))
    with pytest.raises(ProvisionError, match="is not of what is here"):
        open_bundle(other, silent, PublicKey.parse(PUBLIC))


def test_a_comment_of_two_lines_is_refused(folder: Path, secret: Path) -> None:
    with pytest.raises(ProvisionError, match="one line"):
        sign(folder, secret, unasked, "a\nb")
    assert not signature_path(folder).exists()


def test_a_key_that_is_none(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "id_ed25519").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(ProvisionError, match="id_ed25519 is no secret key of minisign"):
        sign(folder, tmp_path / "id_ed25519", unasked)
