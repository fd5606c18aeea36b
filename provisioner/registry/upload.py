"""Sends one blob: nothing if it is there, a mount if a sibling has it, one PUT, or chunks that go on after
a break.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import BinaryIO, Protocol
from urllib.parse import quote

from provisioner.errors import ProvisionError
from provisioner.registry.transport import Answer, Body, Request, TransientError, Transport, attempts

# Above this a broken connection would cost too much to begin anew.
MONOLITHIC_LIMIT = 64 << 20
CHUNK = 32 << 20
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
        for failed in attempts():
            try:
                return self._once()
            except TransientError as error:
                if self.stop.is_set():
                    raise ProvisionError("the push was ended") from error
                failed(error)
        raise AssertionError("the last attempt raises")

    def _once(self) -> Sent:
        if self._exists():
            return Sent("skipped")
        answer = self._begin()
        if answer.status == 201:
            return Sent("mounted")
        if not answer.location:
            raise ProvisionError(f"the registry began an upload to {self.repository} without a Location")
        if self.blob.size <= MONOLITHIC_LIMIT:
            self._commit(answer.location, lambda: self._part(0, self.blob.size))
        else:
            self._commit(self._chunks(answer.location), None)
        return Sent("sent", self.blob.size)

    def _exists(self) -> bool:
        target = f"/v2/{self.repository}/blobs/{self.blob.digest}"
        return self.transport.send(self._request("HEAD", target, 200, 404)).status == 200

    def _begin(self) -> Answer:
        target = f"/v2/{self.repository}/blobs/uploads/"
        if self.sibling:
            target += f"?mount={quote(self.blob.digest, safe='')}&from={quote(self.sibling, safe='')}"
        # A registry that cannot mount answers 202: the upload is open then.
        return self.transport.send(self._request("POST", target, 201, 202))

    def _commit(self, location: str, body: Callable[[], Body] | None) -> None:
        separator = "&" if "?" in location else "?"
        request = self._request(
            "PUT",
            f"{location}{separator}digest={quote(self.blob.digest, safe='')}",
            201,
            204,
            body=body or b"",
            patience=self.blob.size / _COMMIT_BYTES_PER_SECOND,
        )
        answer = self.transport.send(request)
        stored = answer.headers.get("Docker-Content-Digest", self.blob.digest)
        if stored != self.blob.digest:
            raise ProvisionError(f"the registry stored {stored} instead of {self.blob.digest}")

    def _chunks(self, location: str) -> str:
        """Send everything; returns the Location for the commit. A break costs what the registry did not
        get.
        """
        offset = 0
        while offset < self.blob.size:
            for failed in attempts():
                try:
                    location, offset = self._chunk(location, offset)
                    break
                except TransientError as error:
                    if self.stop.is_set():
                        raise
                    failed(error)
                    location, offset = self._state(location, offset)
        return location

    def _chunk(self, location: str, offset: int) -> tuple[str, int]:
        length = min(CHUNK, self.blob.size - offset)
        span = {"Content-Range": f"{offset}-{offset + length - 1}"}
        answer = self.transport.send(
            self._request(
                "PATCH", location, 202, 204, 416, headers=span, body=lambda: self._part(offset, length)
            )
        )
        if answer.status == 416:
            return self._state(location, offset)
        return answer.location or location, _end(answer, offset + length)

    def _state(self, location: str, offset: int) -> tuple[str, int]:
        """Where the registry stands. Raises TransientError when it has forgotten the upload: begin anew."""
        answer = self.transport.retry(self._request("GET", location, 204, 200, 404))
        if answer.status == 404:
            raise TransientError(f"the registry has forgotten the upload of {self.blob.digest}")
        position = _end(answer, offset)
        self.seen(min(position, self.blob.size) - offset)
        return answer.location or location, position

    def _part(self, offset: int, length: int) -> FilePart:
        return FilePart(self.blob.path, offset, length, self.seen, self.stop)

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
