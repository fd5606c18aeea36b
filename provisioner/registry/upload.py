"""Sends one blob: nothing if it is there, a mount if a sibling has it, one PUT, or chunks that go on after
a break.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from threading import Event
from typing import BinaryIO, Protocol
from urllib.parse import quote

from provisioner.errors import ProvisionError
from provisioner.registry.transport import (
    Answer,
    Body,
    RefusedError,
    Request,
    TransientError,
    Transport,
    attempts,
)

# Above this a broken connection would cost too much to begin anew.
MONOLITHIC_LIMIT = 64 << 20
CHUNK = 32 << 20
# nginx takes 1 MiB unless it is told otherwise.
SMALLEST_CHUNK = 512 << 10
# After so many breaks even a small blob goes in chunks.
_WHOLE_ATTEMPTS = 2
_UNKNOWN, _TOO_LARGE, _OUT_OF_ORDER = (
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
)
# The registry reads a blob again before it answers the last request.
_COMMIT_BYTES_PER_SECOND = 20e6
_OCTETS = {"Content-Type": "application/octet-stream"}

Seen = Callable[[int], None]


class Blob(Protocol):
    """`size` in bytes, `digest` as in `sha256:…`."""

    @property
    def digest(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def path(self) -> Path: ...


@dataclass(frozen=True)
class Sent:
    """How a blob came to be in the repository: sent, mounted or skipped.

    `size` is the bytes that went out for it.
    """

    how: str
    size: int = 0


class FilePart(Body):
    """A piece of a file. Reports each block to `seen`; raises InterruptedError once `stop` is set."""

    def __init__(self, path: Path, offset: int, length: int, seen: Seen, stop: Event) -> None:
        self.length = length
        self._left = length
        self._file: BinaryIO = path.open("rb")
        self._file.seek(offset)
        self._seen = seen
        self._stop = stop

    def read(self, size: int = -1) -> bytes:
        if self._stop.is_set():
            raise InterruptedError("the push was ended")
        block = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(block)
        self._seen(len(block))
        return block

    def close(self) -> None:
        self._file.close()


class _Tally:
    """What one request, sent once or more, has reported, and what it is to be in the end."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._count = 0

    def add(self, size: int) -> None:
        self._count += size
        self._seen(size)

    def settle(self, size: int) -> None:
        self._seen(size - self._count)


@dataclass(frozen=True)
class Upload:
    """One blob into one repository.

    `sibling` is a repository of the registry that has the blob, if one is known.
    """

    transport: Transport
    repository: str
    blob: Blob
    seen: Seen
    stop: Event
    sibling: str = ""

    def run(self) -> Sent:
        """Raises ProvisionError when the registry refuses, UnreachableError when it stays away."""
        for number, failed in enumerate(attempts()):
            try:
                return self._once(whole=self.blob.size <= MONOLITHIC_LIMIT and number < _WHOLE_ATTEMPTS)
            except TransientError as error:
                if self.stop.is_set():
                    raise ProvisionError("the push was ended") from error
                failed(error)
        raise AssertionError("the last attempt raises")

    def _once(self, whole: bool) -> Sent:
        if self._exists():
            return Sent("skipped")
        answer = self._begin()
        if answer.status == 201:
            return Sent("mounted")
        if not answer.location:
            raise ProvisionError(f"the registry began an upload to {self.repository} without a Location")
        if not whole or not self._whole(answer.location):
            self._commit(self._chunks(answer), 0)
        return Sent("sent", self.blob.size)

    def _exists(self) -> bool:
        """A registry that keeps its blobs in an object store sends those who ask there (307), if it has them."""
        target = f"/v2/{self.repository}/blobs/{self.blob.digest}"
        return self.transport.send(self._request("HEAD", target, 200, 307, 404)).status != 404

    def _whole(self, location: str) -> bool:
        """In one request; False when something on the way takes none so large."""
        try:
            self._commit(location, self.blob.size)
        except RefusedError as refusal:
            if refusal.status != _TOO_LARGE or self.blob.size <= SMALLEST_CHUNK:
                raise
            return False
        return True

    def _begin(self) -> Answer:
        target = f"/v2/{self.repository}/blobs/uploads/"
        if self.sibling:
            mount = f"?mount={quote(self.blob.digest, safe='')}&from={quote(self.sibling, safe='')}"
            # A registry that cannot mount answers 202: the upload is open then. Others refuse what they do not know.
            answer = self.transport.send(
                self._request("POST", target + mount, 201, 202, 400, 403, 404, 405, body=b"")
            )
            if answer.status in {201, 202}:
                return answer
        return self.transport.send(self._request("POST", target, 202, body=b""))

    def _commit(self, location: str, length: int) -> None:
        """With the blob's `length` bytes, or with none when chunks have brought them."""
        separator = "&" if "?" in location else "?"
        target = f"{location}{separator}digest={quote(self.blob.digest, safe='')}"
        patience = self.blob.size / _COMMIT_BYTES_PER_SECOND
        answer = self._send("PUT", target, 0, length, 201, 204, 404, patience=patience)
        if answer.status == _UNKNOWN:
            raise self._forgotten()
        stored = answer.headers.get("Docker-Content-Digest", self.blob.digest)
        if stored != self.blob.digest:
            raise ProvisionError(f"the registry stored {stored} instead of {self.blob.digest}")

    def _chunks(self, begun: Answer) -> str:
        """Send everything; returns the Location for the commit. A break costs what the registry did not get."""
        least = begun.headers.get("OCI-Chunk-Min-Length", "")
        floor = max(SMALLEST_CHUNK, int(least) if least.isdecimal() else 0)
        location, offset, size = begun.location, 0, max(CHUNK, floor)
        while offset < self.blob.size:
            location, offset, size = self._onward(location, offset, size, floor)
        return location

    def _onward(self, location: str, offset: int, size: int, floor: int) -> tuple[str, int, int]:
        """One chunk; after a break, from where the registry is, and a smaller one.

        A proxy that takes none so large says so (413), or just breaks off.
        """
        for failed in attempts():
            try:
                return (*self._chunk(location, offset, size), size)
            except ForgottenError:
                raise
            except RefusedError as refusal:
                if refusal.status != _TOO_LARGE or min(size, self.blob.size) <= floor:
                    raise
            except TransientError as error:
                if self.stop.is_set():
                    raise
                failed(error)
            size = max(floor, min(size, self.blob.size) // 4)
            location, position = self._state(location, offset)
            if position > offset:
                return location, position, size
            offset = position
        raise TransientError(f"the upload of {self.blob.digest} does not go on")

    def _chunk(self, location: str, offset: int, size: int) -> tuple[str, int]:
        length = min(size, self.blob.size - offset)
        span = {"Content-Range": f"{offset}-{offset + length - 1}"}
        answer = self._send("PATCH", location, offset, length, 202, 204, 404, 416, headers=span)
        if answer.status == _UNKNOWN:
            raise self._forgotten()
        if answer.status != _OUT_OF_ORDER:
            return answer.location or location, _end(answer, offset + length)
        location, position = self._state(location, offset)
        if position == offset:
            # It wants none there, and has nothing else: "0-0" may also be one byte.
            raise self._forgotten()
        return location, position

    def _send(
        self,
        method: str,
        target: str,
        offset: int,
        length: int,
        *expected: int,
        headers: dict[str, str] | None = None,
        patience: float = 0.0,
    ) -> Answer:
        """What is reported as seen in the end is what was sent with success, however often that was tried."""
        tally = _Tally(self.seen)

        def part() -> FilePart:
            return FilePart(self.blob.path, offset, length, tally.add, self.stop)

        body = part if length else b""
        request = self._request(method, target, *expected, headers=headers, body=body, patience=patience)
        try:
            answer = self.transport.send(request)
        except BaseException:
            tally.settle(0)
            raise
        tally.settle(length if answer.status < HTTPStatus.BAD_REQUEST else 0)
        return answer

    def _state(self, location: str, offset: int) -> tuple[str, int]:
        """Where the registry stands. Raises TransientError when it has forgotten the upload: begin anew."""
        answer = self.transport.retry(self._request("GET", location, 204, 200, 404))
        if answer.status == 404:
            raise self._forgotten()
        position = _end(answer, offset)
        self.seen(min(position, self.blob.size) - offset)
        return answer.location or location, position

    def _forgotten(self) -> TransientError:
        return ForgottenError(f"the registry has forgotten the upload of {self.blob.digest}")

    def _request(
        self,
        method: str,
        target: str,
        *expected: int,
        headers: dict[str, str] | None = None,
        body: Callable[[], Body] | bytes | None = None,
        patience: float = 0.0,
    ) -> Request:
        scopes: tuple[str, ...] = (scope(self.repository),)
        if self.sibling:
            scopes += (f"repository:{self.sibling}:pull",)
        kind = _OCTETS if body is not None else {}
        return Request(
            method, target, frozenset(expected), scopes, {**kind, **(headers or {})}, body, patience
        )


class ForgottenError(TransientError):
    """The registry knows nothing of the upload, or nothing right: begin anew."""


def scope(repository: str) -> str:
    return f"repository:{repository}:pull,push"


def _end(answer: Answer, otherwise: int) -> int:
    """The number of bytes that the registry has, from its Range (`0-1023`); an empty upload is reported as
    `0-0`.
    """
    match = re.fullmatch(r"(?:bytes=)?0-(\d+)", answer.headers.get("Range", ""))
    if not match:
        return otherwise
    return int(match[1]) + 1 if int(match[1]) else 0
