"""The client against Debian's docker-registry behind TLS, directly and through a connection that breaks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from registryserver import reached

from provisioner.engine.events import Event, Progress, silent
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.registry.client import Registry
from provisioner.registry.upload import CHUNK, MONOLITHIC_LIMIT

pytestmark = pytest.mark.hosts

NAME = "registry.example"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Blob:
    digest: str
    size: int
    path: Path
    media_type: str


@dataclass(frozen=True)
class Image:
    digest: str
    manifest: bytes
    media_type: str
    blobs: tuple[Blob, ...]


@dataclass(frozen=True)
class Server:
    port: int
    ca: bytes
    storage: Path

    def client(self, **options: Any) -> Registry:
        port = options.pop("port", self.port)
        return Registry(reached(port, **{"ca_pem": self.ca, "stall_seconds": 10.0, **options}))


def blob(directory: Path, content: bytes, media_type: str) -> Blob:
    digest = hashlib.sha256(content).hexdigest()
    path = directory / digest
    path.write_bytes(content)
    return Blob(f"sha256:{digest}", len(content), path, media_type)


def image(directory: Path, *layers: bytes) -> Image:
    config = blob(
        directory,
        json.dumps({"architecture": "amd64", "os": "linux"}).encode(),
        "application/vnd.oci.image.config.v1+json",
    )
    blobs = (
        config,
        *(blob(directory, layer, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in layers),
    )
    described = [{"mediaType": part.media_type, "digest": part.digest, "size": part.size} for part in blobs]
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
    manifest = json.dumps(document).encode()
    return Image(f"sha256:{hashlib.sha256(manifest).hexdigest()}", manifest, MANIFEST, blobs)


@pytest.fixture(scope="session")
def program() -> Path:
    """docker-registry out of Debian's package; unpacked, because installing it would start a service."""
    tree = platformdirs.user_cache_path("provision") / "tests" / "docker-registry"
    if not tree.is_dir():
        tree.parent.mkdir(parents=True, exist_ok=True)
        work = tree.with_suffix(f".{os.getpid()}")
        work.mkdir()
        subprocess.run(["apt-get", "-q", "download", "docker-registry"], cwd=work, check=True)
        subprocess.run(["dpkg-deb", "-x", str(next(work.glob("*.deb"))), "tree"], cwd=work, check=True)
        (work / "tree").rename(tree)
    return tree / "usr/bin/docker-registry"


@contextlib.contextmanager
def serve(program: Path, directory: Path, accounts: str = "") -> Iterator[Server]:
    key, certificate, storage = directory / "key.pem", directory / "crt.pem", directory / "storage"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    make += [
        "-subj",
        f"/CN={NAME}",
        "-addext",
        f"subjectAltName=DNS:{NAME}",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(make, check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(storage)}},
        "http": {"addr": f"127.0.0.1:{port}", "tls": {"certificate": str(certificate), "key": str(key)}},
    }
    if accounts:
        (directory / "htpasswd").write_text(accounts)
        settings["auth"] = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
    (directory / "config.yml").write_text(json.dumps(settings))
    log = (directory / "log").open("wb")
    process = subprocess.Popen([program, "serve", directory / "config.yml"], stdout=log, stderr=log)
    try:
        wait_for(port)
        yield Server(port, certificate.read_bytes(), storage)
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def wait_for(port: int) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on {port}")


@pytest.fixture(scope="module")
def server(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(program, tmp_path_factory.mktemp("registry")) as running:
        yield running


class Breaking:
    """A TCP relay that resets one connection, or lets it hang, after `limit` bytes towards the registry."""

    def __init__(self, target: int, limit: int, hang: bool = False) -> None:
        self._target, self._limit, self._hang = target, limit, hang
        self.sent, self.cuts = 0, 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._relay, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self._relay, args=(far, near, False), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, forward: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
                if forward and self._cut(len(data)):
                    if self._hang:
                        return
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                # Closed without lingering: the peer gets a reset, as from a router that lost its state.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _cut(self, count: int) -> bool:
        with self._lock:
            self.sent += count
            if self.cuts or self.sent < self._limit:
                return False
            self.cuts += 1
            return True


def test_push_then_nothing_to_do(server: Server, tmp_path: Path) -> None:
    pushed = image(tmp_path, os.urandom(300_000), b"x" * 17)
    seen: list[Event] = []
    with server.client() as registry:
        registry.ping()
        assert registry.digest("one/image", "v1") is None
        first = registry.push(pushed, "one/image", "v1", seen.append)
        assert (first.blobs_sent, first.bytes_sent) == (3, sum(part.size for part in pushed.blobs))
        assert registry.digest("one/image", "v1") == pushed.digest
        again = registry.push(pushed, "one/image", "v1", silent)
    assert (again.blobs_sent, again.bytes_sent, again.skipped) == (0, 0, 3)
    last = [event for event in seen if isinstance(event, Progress)][-1]
    assert last.done == last.total == first.bytes_sent
    stored = server.storage / "docker/registry/v2/blobs/sha256"
    for part in pushed.blobs:
        hexadecimal = part.digest[7:]
        assert (stored / hexadecimal[:2] / hexadecimal / "data").read_bytes() == part.path.read_bytes()


def test_a_blob_that_the_registry_has_is_not_sent_again(server: Server, tmp_path: Path) -> None:
    shared = os.urandom(200_000)
    with server.client() as registry:
        registry.push(image(tmp_path, shared), "two/first", "v1", silent)
        mounted = registry.push(image(tmp_path, shared, b"new"), "two/second", "v1", silent)
        skipped = registry.push(image(tmp_path, shared, b"newer"), "two/second", "v2", silent)
    assert (mounted.mounted, mounted.blobs_sent) == (2, 1)
    assert (skipped.skipped, skipped.blobs_sent, skipped.bytes_sent) == (2, 1, 5)


def test_a_moved_tag_is_pushed(server: Server, tmp_path: Path) -> None:
    old, new = image(tmp_path, b"old"), image(tmp_path, b"new layer")
    with server.client() as registry:
        registry.push(old, "three/image", "v1", silent)
        registry.push(new, "three/image", "v1", silent)
        assert registry.digest("three/image", "v1") == new.digest


@pytest.mark.parametrize("hang", [False, True])
@pytest.mark.parametrize("cut_after", [MONOLITHIC_LIMIT // 4, CHUNK + CHUNK // 2])
def test_a_large_blob_arrives_over_a_broken_connection(
    server: Server, tmp_path: Path, cut_after: int, hang: bool
) -> None:
    large = image(tmp_path, os.urandom(MONOLITHIC_LIMIT + 3_000_001))
    relay = Breaking(server.port, cut_after, hang)
    repository = f"four/after-{cut_after}-{hang}".lower()
    try:
        # The name is the same, so is the certificate; only the way is another one.
        with server.client(port=relay.port, stall_seconds=1.0) as registry:
            result = registry.push(large, repository, "v1", silent)
            assert registry.digest(repository, "v1") == large.digest
    finally:
        relay.close()
    assert (relay.cuts, result.blobs_sent) == (1, 2)
    # This registry (2.8) cancels an upload whose size is not the one in its signed state: a break within a
    # chunk costs all before it. Going on where it was is tested in tests/unit/test_registry_transport.py.
    assert relay.sent < cut_after + large.blobs[1].size + (4 << 20)


def test_a_broken_small_blob_is_sent_anew(server: Server, tmp_path: Path) -> None:
    small = image(tmp_path, os.urandom(5_000_000))
    relay = Breaking(server.port, 2_000_000)
    try:
        with server.client(port=relay.port) as registry:
            registry.push(small, "five/image", "v1", silent)
            assert registry.digest("five/image", "v1") == small.digest
    finally:
        relay.close()
    assert relay.cuts == 1


def test_an_untrusted_certificate_is_refused(server: Server) -> None:
    with server.client(ca_pem=None) as registry, pytest.raises(ProvisionError, match="not trusted"):
        registry.ping()


def test_another_name_than_the_certificates_is_refused(server: Server) -> None:
    registry = Registry(reached(server.port, host="other.example", ca_pem=server.ca))
    with registry, pytest.raises(ProvisionError, match="for another name"):
        registry.ping()


def test_accounts(program: Path, tmp_path: Path) -> None:
    import bcrypt

    line = b"writer:" + bcrypt.hashpw(b"right", bcrypt.gensalt(5, b"2a")) + b"\n"
    with serve(program, tmp_path, line.decode()) as running:
        with running.client(username="writer", password="right") as registry:  # noqa: S106
            registry.push(image(tmp_path, b"layer"), "six/image", "v1", silent)
        for options in ({}, {"username": "writer", "password": "wrong"}):
            with running.client(**options) as registry, pytest.raises(ProvisionError, match="401") as caught:
                registry.ping()
            assert not isinstance(caught.value, UnreachableError)
