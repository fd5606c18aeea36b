"""Host keys: who a host has to be, before anything is sent to it.

known_hosts files are read once per run into one value. The format is that of sshd(8), "SSH_KNOWN_HOSTS FILE
FORMAT": plain, hashed and wildcard names, `[host]:port`, `@revoked` and `@cert-authority`. Host certificates
are not used: a host known by its authority alone is refused, never accepted.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from provisioner.errors import UnreachableError

_TRUST = "provision trust INVENTORY"
"""The command that remembers host keys, where nobody knows the inventory."""


@dataclass(frozen=True)
class HostKey:
    """A public key as known_hosts writes it: `kind` ("ssh-ed25519") and the key itself in base64."""

    kind: str
    base64: str

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it: SHA256 and unpadded base64."""
        digest = hashlib.sha256(base64.b64decode(self.base64)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True)
class Offered:
    """The key by which a host answered, and the address and port under which known_hosts keeps it."""

    address: str
    port: int
    key: HostKey


@dataclass(frozen=True)
class _Line:
    marker: str
    names: tuple[str, ...]
    key: HostKey
    where: str

    def matches(self, name: str) -> bool:
        hits = [pattern for pattern in self.names if _matches(pattern.removeprefix("!"), name)]
        return bool(hits) and not any(pattern.startswith("!") for pattern in hits)


@dataclass(frozen=True)
class KnownHosts:
    """Every key of every file, found by name. An empty value knows nobody. `trust` is the command that adds to it."""

    exact: Mapping[str, tuple[_Line, ...]] = field(default_factory=dict)
    patterns: tuple[_Line, ...] = ()
    trust: str = _TRUST

    @staticmethod
    def load(paths: Iterable[Path], trust: str = _TRUST) -> KnownHosts:
        """Read `paths` in order. A missing file is empty; a line that cannot be read is skipped, as ssh does.

        Raises OSError for a file that exists and cannot be read.
        """
        exact: dict[str, list[_Line]] = {}
        patterns: list[_Line] = []
        for path in paths:
            for line in _lines(path):
                if any(set("*?!|") & set(name) for name in line.names):
                    patterns.append(line)
                else:
                    for name in line.names:
                        exact.setdefault(name, []).append(line)
        return KnownHosts({name: tuple(lines) for name, lines in exact.items()}, tuple(patterns), trust)

    def known(self, address: str, port: int) -> tuple[HostKey, ...]:
        """The keys by which the host may answer; none when it is not known."""
        return tuple(line.key for line in self._find(address, port) if not line.marker)

    def check(self, address: str, port: int, offered: HostKey) -> None:
        """Raise UnreachableError unless `offered` is one of the host's known keys and not revoked."""
        lines = self._find(address, port)
        name = host_id(address, port)
        for line in lines:
            if line.marker == "@revoked" and line.key == offered:
                raise UnreachableError(
                    f"{name} answers with a REVOKED host key {offered.fingerprint} ({line.where})",
                    "do not connect: the key is marked as stolen or retired; give the host a new one",
                )
        plain = [line for line in lines if not line.marker]
        if any(line.key == offered for line in plain):
            return
        if plain:
            raise _changed(name, offered, plain, self.trust)
        authority = any(line.marker == "@cert-authority" for line in lines)
        extra = " (but by a certificate authority, which is not used)" if authority else ""
        raise UnreachableError(
            f"the host key of {name} is not known{extra}: {offered.kind} {offered.fingerprint}",
            f"check the fingerprint at the host's console, then run: {self.trust}",
        )

    def _find(self, address: str, port: int) -> list[_Line]:
        name = host_id(address, port)
        return [*self.exact.get(name, ()), *(line for line in self.patterns if line.matches(name))]


def host_id(address: str, port: int) -> str:
    """The name under which known_hosts keeps a host: the bare address for port 22, else `[address]:port`."""
    address = address.lower()
    return address if port == 22 else f"[{address}]:{port}"


def enrol(path: Path, address: str, port: int, key: HostKey) -> bool:
    """Append the key to `path` unless it is there; True when it was added.

    Nothing in the file is rewritten: comments, authorities and other tools' lines stay. Concurrent runs are
    serialised by a lock on the file itself. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if key in KnownHosts.load([path]).known(address, port):
            return False
        file.seek(0)
        torn = file.read()[-1:] not in (b"", b"\n")
        file.write(f"{chr(10) * torn}{host_id(address, port)} {key.kind} {key.base64}\n".encode())
        return True


def _changed(name: str, offered: HostKey, plain: list[_Line], trust: str) -> UnreachableError:
    known = ", ".join(f"{line.key.kind} {line.key.fingerprint} ({line.where})" for line in plain)
    return UnreachableError(
        f"THE HOST KEY OF {name} HAS CHANGED: it answers with {offered.kind} {offered.fingerprint};"
        f" known: {known}",
        "either the host was rebuilt, or somebody stands between; if it was rebuilt, remove the old line"
        f" named here, then run: {trust}",
    )


def _lines(path: Path) -> Iterator[_Line]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    for number, raw in enumerate(text.splitlines(), 1):
        words = raw.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) >= 3 and not words[0].startswith("#") and _is_base64(words[2]):
            names = (words[0],) if words[0].startswith("|") else tuple(words[0].lower().split(","))
            yield _Line(marker, names, HostKey(words[1], words[2]), f"{path}:{number}")


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("|1|"):
        return _hash_matches(pattern, name)
    # '[' is literal in known_hosts but opens a set in fnmatch.
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _hash_matches(pattern: str, name: str) -> bool:
    try:
        _, _, salt, digest = pattern.split("|")
        wanted = base64.b64decode(digest)
        return hmac.compare_digest(hmac.digest(base64.b64decode(salt), name.encode(), "sha1"), wanted)
    except ValueError:
        return False
