"""What lies where in a bundle, be it a directory or one file: everything that only reads goes by this."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from provisioner.bundle.tarread import BrokenTarError, Member, members
from provisioner.errors import ProvisionError

INDEX = "index.json"
LAYOUT = "oci-layout"
SIGNATURE = "index.json.minisig"
BLOBS = "blobs/sha256"
BUILD = "`provision bundle build` makes or completes it"
AGAIN = "carry it here once more, or pack it anew with `provision bundle pack`"

_CHUNK = 1 << 20
_OF_LAYOUT = re.compile(rf"{LAYOUT}|{INDEX}|{re.escape(SIGNATURE)}|{BLOBS}/[0-9a-f]{{64}}")
_FOLDERS = ("", ".", "blobs", BLOBS)
# A bundle of everything has some hundred blobs.
_MOST_MEMBERS = 100_000
# Beyond what any index or signature has; manifests have a limit of their own (references.py).
_HEAD_LIMIT = 16 << 20


@dataclass(frozen=True)
class Piece:
    """The `size` bytes from `offset` on of `file`. `path` is where they lie as a file of their own, and leads nowhere
    where they do not."""

    file: Path
    offset: int
    size: int
    path: Path

    def read(self, limit: int = _HEAD_LIMIT) -> bytes:
        """All of it. Raises ValueError when that is more than `limit`, or less is there."""
        if self.size > limit:
            raise ValueError(f"has {self.size} bytes, which is absurd")
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """Its bytes; fewer than its size when the file was cut off meanwhile."""
        with self.file.open("rb", buffering=0) as file:
            file.seek(self.offset)
            left = self.size
            while left and (data := file.read(min(left, _CHUNK))):
                left -= len(data)
                yield data

    def digest(self, count: Callable[[int], object] = int) -> str:
        """Hashes its bytes, which leaves other threads at work; tells `count` how many, chunk by chunk."""
        result = hashlib.sha256()
        for chunk in self.chunks():
            result.update(chunk)
            count(len(chunk))
        return f"sha256:{result.hexdigest()}"


@dataclass(frozen=True)
class Contents:
    """`pieces` by their names in the layout. `faults` are what does not belong there or cannot be read, by name."""

    path: Path
    pieces: Mapping[str, Piece]
    faults: tuple[str, ...] = ()

    def blob(self, digest: str) -> Piece:
        """Raises FileNotFoundError, which names it, when it is not there."""
        name = digest.partition(":")[2]
        try:
            return self.pieces[f"{BLOBS}/{name}"]
        except KeyError:
            raise FileNotFoundError(2, "no such blob", name) from None

    def refuse(self) -> None:
        """Raises ProvisionError, naming every fault, when there is one."""
        if self.faults:
            raise ProvisionError("\n".join(f"{self.path}: {fault}" for fault in self.faults), AGAIN)


def read_contents(path: Path) -> Contents:
    """Lists the bundle at `path`; reads no content. Raises ProvisionError when nothing is there that can be listed."""
    try:
        return _packed(path) if path.is_file() else _directory(path)
    except OSError as error:
        raise ProvisionError(f"{path} cannot be read: {error.strerror}") from error


def read_head(path: Path) -> dict[str, Piece]:
    """Index and, where it has one, signature of the FILE at `path`, read no farther than to the first blob after them.

    Raises ProvisionError when it is no tar of a bundle.
    """
    found: dict[str, Piece] = {}
    try:
        with path.open("rb") as file:
            for member in members(file):
                name = _normal(member.name)
                if name.startswith(BLOBS + "/") and INDEX in found:
                    break
                if name in (INDEX, SIGNATURE) and not member.refused:
                    found.setdefault(name, _piece(path, name, member))
    except BrokenTarError as error:
        raise _no_tar(path, error) from None
    except OSError as error:
        raise ProvisionError(f"{path} cannot be read: {error.strerror}") from error
    if INDEX not in found:
        raise ProvisionError(f"{path} is no bundle: it has no {INDEX}", BUILD)
    return found


def _no_tar(path: Path, error: BrokenTarError) -> ProvisionError:
    if error.member:
        return ProvisionError(f"{path}: {shown(error.member)}: {error}", AGAIN)
    return ProvisionError(f"{path} is no bundle: it is no tar, or a damaged or compressed one", AGAIN)


def _directory(path: Path) -> Contents:
    if not path.exists():
        raise ProvisionError(f"{path}: there is no such file or folder", BUILD)
    if not (path / INDEX).exists():
        raise ProvisionError(f"{path} is no bundle: it has no {INDEX}", BUILD)
    pieces, faults = {}, []
    for file in (*path.iterdir(), *_inside(path / "blobs"), *_inside(path / BLOBS)):
        name = file.relative_to(path).as_posix()
        if name in _FOLDERS and file.is_dir():
            continue
        if _OF_LAYOUT.fullmatch(name) and file.is_file():
            pieces[name] = Piece(file, 0, file.stat().st_size, file)
        else:
            faults.append(f"{shown(name)}: is no part of a bundle")
    return Contents(path, pieces, tuple(sorted(faults)))


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _packed(path: Path) -> Contents:
    pieces: dict[str, Piece] = {}
    faults = []
    try:
        with path.open("rb") as file:
            for number, member in enumerate(members(file)):
                if number >= _MOST_MEMBERS:
                    faults.append(f"{shown(member.name)}: more than {_MOST_MEMBERS} members")
                    break
                name = _normal(member.name)
                reason = _why_not(name, member, pieces)
                if reason:
                    faults.append(f"{shown(member.name)}: {reason}")
                elif not member.is_directory:
                    pieces[name] = _piece(path, name, member)
    except BrokenTarError as error:
        if not pieces and not faults:
            raise _no_tar(path, error) from None
        faults.append(f"{shown(error.member)}: {error}")
    return Contents(path, pieces, tuple(faults))


def _piece(path: Path, name: str, member: Member) -> Piece:
    return Piece(path, member.offset, member.size, path / name)


def _normal(name: str) -> str:
    """Other programs write ./NAME, and FOLDER/."""
    return name.removeprefix("./").rstrip("/")


def _why_not(name: str, member: Member, there: Mapping[str, Piece]) -> str:
    if member.refused:
        return member.refused
    if member.name.startswith("/") or ".." in name.split("/"):
        return "leads out of the bundle"
    if member.is_directory:
        return "" if name in _FOLDERS else "is no part of a bundle"
    if name in there:
        return "is there twice"
    return "" if _OF_LAYOUT.fullmatch(name) else "is no part of a bundle"


def shown(name: str) -> str:
    """A name that somebody else chose, fit to be printed."""
    return name if name.isprintable() and name else ascii(name)
