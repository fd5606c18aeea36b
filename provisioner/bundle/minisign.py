"""Signatures as minisign makes and checks them: ed25519 in four lines of text.

The format is that of https://jedisct1.github.io/minisign/: "Ed" signs the bytes themselves, "ED" their BLAKE2b-512;
a second signature covers the first one and the trusted comment. Encrypted keys need libsodium's way from its limits to
scrypt's parameters (pickparams in crypto_pwhash/scryptsalsa208sha256).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from provisioner.errors import InputError, Problem

PREHASHED, LEGACY = b"ED", b"Ed"
_UNTRUSTED = "untrusted comment: "
_TRUSTED = "trusted comment: "
_SCRYPT, _NO_KDF = b"Sc", b"\0\0"
# minisign's own limits want 1 GiB; a key that asks for more than double is none that it made.
_MOST_MEMORY = 2**31 - 1


@dataclass(frozen=True)
class PublicKey:
    """`number` tells keys apart, it proves nothing."""

    number: bytes
    point: bytes

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Of the key alone, or of the two lines of a key file. Raises ValueError when `text` is neither."""
        lines = text.strip().splitlines() or [""]
        if len(lines) > 2 or (len(lines) == 2 and not lines[0].startswith(_UNTRUSTED)):
            raise ValueError("is no public key of minisign")
        data = _bytes(lines[-1], 42, "public key")
        if data[:2] != LEGACY:
            raise ValueError("is no public key of minisign")
        return cls(data[2:10], data[10:])

    @property
    def name(self) -> str:
        """As minisign writes it."""
        return _name(self.number)

    def __str__(self) -> str:
        return base64.b64encode(LEGACY + self.number + self.point).decode()


@dataclass(frozen=True)
class Signature:
    """`algorithm` is LEGACY or PREHASHED; `comment` the trusted one, `whole` the signature of both."""

    algorithm: bytes
    number: bytes
    value: bytes
    comment: str
    whole: bytes

    @classmethod
    def parse(cls, data: bytes) -> Signature:
        """Raises ValueError when `data` is no signature file."""
        lines = data.decode().rstrip("\n").split("\n")
        if len(lines) != 4 or not lines[0].startswith(_UNTRUSTED) or not lines[2].startswith(_TRUSTED):
            raise ValueError("is no signature of minisign")
        first = _bytes(lines[1], 74, "signature")
        if first[:2] not in (LEGACY, PREHASHED):
            raise ValueError("is a signature of an unknown kind")
        # minisign cuts a carriage return off, too.
        comment = lines[2].removeprefix(_TRUSTED).rstrip("\r")
        return cls(first[:2], first[2:10], first[10:], comment, _bytes(lines[3], 64, "signature"))

    def encode(self) -> bytes:
        first = base64.b64encode(self.algorithm + self.number + self.value).decode()
        whole = base64.b64encode(self.whole).decode()
        comment = f"{_UNTRUSTED}signature from provision's bundle sign"
        return f"{comment}\n{first}\n{_TRUSTED}{self.comment}\n{whole}\n".encode()


def check(signature: Signature, data: bytes, key: PublicKey) -> None:
    """Raises ValueError, with the reason, unless the holder of `key` signed `data` and the trusted comment."""
    if signature.number != key.number:
        raise ValueError(f"is of the key {_name(signature.number)}, not of {key.name}")
    public = Ed25519PublicKey.from_public_bytes(key.point)
    try:
        public.verify(signature.value, _signed(signature.algorithm, data))
    except InvalidSignature:
        raise ValueError("is not of what is here: that was changed, or something else was signed") from None
    try:
        public.verify(signature.whole, signature.value + signature.comment.encode())
    except InvalidSignature:
        raise ValueError("has another trusted comment than was signed") from None


@dataclass(frozen=True, repr=False)
class SecretKey:
    number: bytes
    seed: bytes

    @classmethod
    def parse(cls, data: bytes, passphrase: Callable[[], bytes]) -> SecretKey:
        """Of a key file; `passphrase` is called where it is encrypted. Raises ValueError when it is no key,
        InputError when the passphrase is wrong."""
        lines = data.decode().strip().splitlines()
        if len(lines) != 2 or not lines[0].startswith(_UNTRUSTED):
            raise ValueError("is no secret key of minisign")
        raw = _bytes(lines[1], 158, "secret key")
        kind, kdf, salt, limits, body = raw[:2], raw[2:4], raw[6:38], raw[38:54], raw[54:]
        if kind != LEGACY or kdf not in (_SCRYPT, _NO_KDF):
            raise ValueError("is no secret key of minisign, or of a newer kind")
        if kdf == _SCRYPT:
            operations, memory = (int.from_bytes(part, "little") for part in (limits[:8], limits[8:]))
            mask = _scrypt(passphrase(), salt, operations, memory)
            body = bytes(a ^ b for a, b in zip(body, mask, strict=True))
        number, secret, proof = body[:8], body[8:72], body[72:]
        right = hashlib.blake2b(kind + number + secret, digest_size=32).digest()
        # minisign -W leaves the checksum out.
        if proof != right and (kdf == _SCRYPT or any(proof)):
            if kdf == _SCRYPT:
                raise InputError([Problem("--key", 0, 0, "the passphrase of the key is wrong")])
            raise ValueError("is damaged: its checksum is wrong")
        return cls(number, secret[:32])

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.number, self._private.public_key().public_bytes_raw())

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def sign(self, data: bytes, comment: str) -> Signature:
        """Prehashed, as minisign does by default. `comment`, of one line, is signed with it."""
        value = self._private.sign(_signed(PREHASHED, data))
        return Signature(PREHASHED, self.number, value, comment, self._private.sign(value + comment.encode()))


def _signed(algorithm: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(data).digest() if algorithm == PREHASHED else data


def _bytes(text: str, length: int, what: str) -> bytes:
    try:
        data = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        data = b""
    if len(data) != length:
        raise ValueError(f"is no {what} of minisign")
    return data


def _scrypt(passphrase: bytes, salt: bytes, operations: int, memory: int) -> bytes:
    """104 bytes. Raises ValueError for limits that no key has."""
    block = 8
    operations = max(operations, 32768)
    if operations < memory // 32:
        rounds, parallel = _power(operations // (block * 4)), 1
    else:
        rounds = _power(memory // (block * 128))
        parallel = min(operations // 4 // rounds, 0x3FFFFFFF) // block
    if not 2 <= rounds <= _MOST_MEMORY // (128 * block) or not 0 < parallel < 1024:
        raise ValueError("asks for more memory or work than any key of minisign")
    return hashlib.scrypt(
        passphrase, salt=salt, n=rounds, r=block, p=parallel, maxmem=_MOST_MEMORY, dklen=104
    )


def _power(most: int) -> int:
    """The largest power of two up to `most`, as libsodium counts: more than half of it, and 2 at least."""
    result = 2
    while result <= most // 2:
        result *= 2
    return result


def _name(number: bytes) -> str:
    """minisign takes it for a number, and writes no zeros before it."""
    return f"{int.from_bytes(number, 'little'):X}"
