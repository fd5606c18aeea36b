"""A registry as `provision` uses it: is it there, which manifest has a tag, push an image."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from provisioner.engine.events import Emit, Progress
from provisioner.errors import ConsentError, ProvisionError
from provisioner.registry.server import RegistryServer
from provisioner.registry.transport import Request, Transport
from provisioner.registry.upload import Blob, Sent, Upload, scope

_PARALLEL = 3
_REPORT_SECONDS = 0.1
_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)


class PushableImage(Protocol):
    """An image whose blobs are files; `bundle.layout.Image` is one."""

    @property
    def digest(self) -> str: ...
    @property
    def manifest(self) -> bytes: ...
    @property
    def media_type(self) -> str: ...
    @property
    def blobs(self) -> Sequence[Blob]: ...


class PushableIndex(Protocol):
    """Images of several platforms under one name."""

    @property
    def digest(self) -> str: ...
    @property
    def manifest(self) -> bytes: ...
    @property
    def media_type(self) -> str: ...
    @property
    def children(self) -> Sequence[PushableImage]: ...


@dataclass(frozen=True)
class PushResult:
    """Counts of blobs; `skipped` were in the repository already.

    `bytes_sent` is the sum over the blobs that were sent. `tagged`: the tag was not there or named another image,
    whose digest is then `before`.
    """

    blobs_sent: int = 0
    bytes_sent: int = 0
    mounted: int = 0
    skipped: int = 0
    tagged: bool = False
    before: str = ""

    def __add__(self, other: PushResult) -> PushResult:
        """Of the blobs alone."""
        return PushResult(
            self.blobs_sent + other.blobs_sent,
            self.bytes_sent + other.bytes_sent,
            self.mounted + other.mounted,
            self.skipped + other.skipped,
        )


class _Meter:
    """Adds up what several threads send and reports it now and then, one event at a time."""

    def __init__(self, subject: str, total: int, emit: Emit) -> None:
        self._subject, self._total, self._emit = subject, total, emit
        self._lock = threading.Lock()
        self._done = 0
        self._reported = 0.0

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._reported < _REPORT_SECONDS and self._done < self._total:
                return
            self._reported = now
            done = min(self._done, self._total)
            self._emit(
                Progress(task="push", subject=self._subject, done=done, total=self._total, unit="bytes")
            )


class Registry:
    """The distribution API of one registry. All methods raise ProvisionError for a refusal and UnreachableError when
    nothing answers.
    """

    def __init__(self, server: RegistryServer) -> None:
        self._transport = Transport(server, server.credentials)
        self._homes: dict[str, str] = {}

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    @property
    def authority(self) -> str:
        """HOST:PORT, as in references."""
        return self._transport.authority

    def listens(self) -> bool:
        """Whether anything accepts a connection there now; one try, without TLS and without back-off."""
        return self._transport.listens()

    def ping(self) -> None:
        """Prove that a registry of the distribution API answers, trusts us and is trusted."""
        self._transport.retry(Request("GET", "/v2/", frozenset((200,))))

    def digest(self, repository: str, tag: str) -> str | None:
        """The digest of the manifest under a tag (or of a digest, if it is there); None if there is none."""
        answer = self._transport.retry(self._manifest("HEAD", repository, tag, 200, 404))
        if answer.status == 404:
            return None
        stated = answer.headers.get("Docker-Content-Digest")
        if stated:
            return stated
        data = self._transport.retry(self._manifest("GET", repository, tag, 200)).data
        return "sha256:" + hashlib.sha256(data).hexdigest()

    def push(
        self, image: PushableImage, repository: str, tag: str, emit: Emit, *, move: bool = True
    ) -> PushResult:
        """Bring the image to `repository`:`tag`: blobs first, several at a time, its manifest last.

        Nothing is sent when the tag already has the image's digest. Read back: the registry's digest is compared.
        Without `move` a tag that names another image raises ConsentError, before a byte is sent.
        """
        before = self._before(image, repository, tag, move=move)
        if before == image.digest:
            return self.held((image,), repository)
        blobs = _different(image.blobs)
        meter = _Meter(_called(repository, tag), sum(blob.size for blob in blobs), emit)
        sent = self._send(blobs, repository, meter)
        self._put_manifest(image, repository, tag)
        how, size = Counter(one.how for one in sent), sum(one.size for one in sent)
        return PushResult(how["sent"], size, how["mounted"], how["skipped"], tagged=True, before=before)

    def push_index(
        self, index: PushableIndex, repository: str, tag: str, emit: Emit, *, move: bool = True
    ) -> PushResult:
        """As `push`: the children by their digests, then the index, which a registry refuses before them."""
        before = self._before(index, repository, tag, move=move)
        if before == index.digest:
            return self.held(index.children, repository)
        result = PushResult()
        for child in index.children:
            result += self.push(child, repository, child.digest, emit)
        self._put_manifest(index, repository, tag)
        return replace(result, tagged=True, before=before)

    def held(self, images: Sequence[PushableImage], repository: str) -> PushResult:
        """What a push of images comes to that the repository has: their blobs can be mounted from there."""
        blobs = _different([blob for image in images for blob in image.blobs])
        self._homes.update({blob.digest: repository for blob in blobs})
        return PushResult(skipped=len(blobs))

    def _before(self, image: PushableImage | PushableIndex, repository: str, tag: str, *, move: bool) -> str:
        """The digest that the tag has, "" for none. Raises ConsentError as `push`."""
        there = self.digest(repository, tag) or ""
        if there not in ("", image.digest) and not move:
            where = f"{self.authority}/{_called(repository, tag)}"
            raise taken([(where, there, image.digest)])
        return there

    def _send(self, blobs: Sequence[Blob], repository: str, meter: _Meter) -> list[Sent]:
        stop = threading.Event()
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="push") as pool:
            running = [pool.submit(self._upload, blob, repository, meter, stop) for blob in blobs]
            try:
                return [future.result() for future in running]
            except BaseException:
                # Also Ctrl-C: what runs ends at its next block, what waits never begins.
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _upload(self, blob: Blob, repository: str, meter: _Meter, stop: threading.Event) -> Sent:
        home = self._homes.get(blob.digest, "")
        sibling = home if home != repository else ""
        sent = Upload(self._transport, repository, blob, meter.add, stop, sibling).run()
        self._homes[blob.digest] = repository
        if sent.how != "sent":
            meter.add(blob.size)
        return sent

    def _put_manifest(self, image: PushableImage | PushableIndex, repository: str, tag: str) -> None:
        request = self._manifest(
            "PUT", repository, tag, 201, headers={"Content-Type": image.media_type}, body=image.manifest
        )
        answer = self._transport.retry(request)
        stored = answer.headers.get("Docker-Content-Digest") or self.digest(repository, tag)
        if stored != image.digest:
            what = f"the registry has {stored} as {_called(repository, tag)} instead of {image.digest}"
            raise ProvisionError(what, "something on the way rewrites manifests, or another push was faster")

    def _manifest(
        self,
        method: str,
        repository: str,
        reference: str,
        *expected: int,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Request:
        target = f"/v2/{repository}/manifests/{reference}"
        return Request(
            method,
            target,
            frozenset(expected),
            (scope(repository),),
            {"Accept": _ACCEPT, **(headers or {})},
            body,
        )


def taken(tags: Sequence[tuple[str, str, str]]) -> ConsentError:
    """Why nothing is pushed over `tags`: each with the digest that it has and the one that it would get."""
    lines = [f"  {where} is {there[:19]}, and would become {wanted[:19]}" for where, there, wanted in tags]
    many = len(tags) != 1
    head = f"{len(tags)} tags name other images there:" if many else "a tag names another image there:"
    return ConsentError("\n".join((head, *lines)), f"--force moves {'them' if many else 'it'}")


def _different(blobs: Sequence[Blob]) -> tuple[Blob, ...]:
    return tuple({blob.digest: blob for blob in blobs}.values())


def _called(repository: str, reference: str) -> str:
    """`reference` is a tag or a digest."""
    return f"{repository}{'@' if ':' in reference else ':'}{reference}"
