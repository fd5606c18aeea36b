"""What a real registry does rarely: busy answers, silence, breaks, odd Locations, tokens. Over real TLS."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from provisioner.engine.events import silent
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.registry import transport, upload
from provisioner.registry.auth import Challenge
from provisioner.registry.client import Registry

HOST = "registry.example"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Blob:
    digest: str
    size: int
    path: Path


@dataclass(frozen=True)
class Image:
    digest: str
    manifest: bytes
    blobs: tuple[Blob, ...]
    media_type: str = MANIFEST


@dataclass
class State:
    """What the server has, and the faults that it has in store: each is used up by one request."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    faults: list[Callable[[Any], bool]] = field(default_factory=list)
    location: str = "{path}"
    token: str = ""
    wrong_digest: bool = False
    requests: list[tuple[str, str]] = field(default_factory=list)
    received: int = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State

    def log_message(self, *_: object) -> None:
        return

    def answer(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_any(self) -> None:
        state = self.state
        state.requests.append((self.command, self.path))
        if state.faults and state.faults[0](self):
            state.faults.pop(0)
            return None
        if self.path.startswith("/token"):
            return self.issue()
        if state.token and self.headers.get("Authorization") != f"Bearer {state.token}":
            challenge = f'Bearer realm="https://{self.headers["Host"]}/token",service="s",scope="ignored"'
            return self.answer(401, WWW_Authenticate=challenge)
        return self.serve(self.path.partition("?")[0])

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = handle_any  # noqa: N815

    def issue(self) -> None:
        wanted = "Basic " + base64.b64encode(b"me:secret").decode()
        if self.headers.get("Authorization") != wanted:
            return self.answer(401)
        return self.answer(200, json.dumps({"access_token": self.state.token}).encode())

    def serve(self, path: str) -> None:
        if path == "/v2/":
            return self.answer(200, b"{}")
        if "/manifests/" in path:
            return self.manifest(path.rpartition("/")[2])
        if path.endswith("/blobs/uploads/"):
            name = f"u{len(self.state.uploads)}"
            self.state.uploads[name] = b""
            where = self.state.location.format(path=f"{path}{name}", host=self.headers["Host"])
            return self.answer(202, Location=f"{where}?state=1", Range="0-0")
        if "/uploads/" in path:
            return self.upload(path, path.rpartition("/")[2])
        return self.answer(200 if path.rpartition("/")[2] in self.state.blobs else 404)

    def upload(self, path: str, name: str) -> None:
        state = self.state
        if self.command != "GET":
            data = self.rfile.read(int(self.headers["Content-Length"]))
            state.received += len(data)
            state.uploads[name] += data
        if self.command == "PUT":
            match = re.search(r"digest=(sha256%3A|sha256:)([0-9a-f]+)", self.path)
            assert match
            actual = hashlib.sha256(state.uploads[name]).hexdigest()
            if actual != match[2]:
                return self.answer(
                    400, json.dumps({"errors": [{"code": "DIGEST_INVALID", "message": "no"}]}).encode()
                )
            state.blobs[f"sha256:{actual}"] = state.uploads[name]
            return self.answer(201, Docker_Content_Digest=f"sha256:{actual}")
        end = max(0, len(state.uploads[name]) - 1)
        return self.answer(202 if self.command == "PATCH" else 204, Location=path, Range=f"0-{end}")

    def manifest(self, reference: str) -> None:
        state = self.state
        if self.command == "PUT":
            state.manifests[reference] = self.rfile.read(int(self.headers["Content-Length"]))
        if reference not in state.manifests:
            return self.answer(404)
        data = state.manifests[reference]
        digest = hashlib.sha256(b"other" if state.wrong_digest else data).hexdigest()
        return self.answer(
            201 if self.command == "PUT" else 200, data, Docker_Content_Digest=f"sha256:{digest}"
        )


@dataclass(frozen=True)
class Running:
    port: int
    ca: bytes
    state: State

    def client(self, **options: Any) -> Registry:
        return Registry(
            HOST, self.port, **{"ca_pem": self.ca, "address": "127.0.0.1", "stall_seconds": 5.0, **options}
        )


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("certificate")
    key, crt = directory / "key.pem", directory / "crt.pem"
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
        f"/CN={HOST}",
        "-addext",
        f"subjectAltName=DNS:{HOST}",
        "-keyout",
        str(key),
        "-out",
        str(crt),
    ]
    subprocess.run(make, check=True, capture_output=True)
    return key, crt


@pytest.fixture
def server(certificate: tuple[Path, Path]) -> Iterator[Running]:
    state = State()
    running = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[1], certificate[0])
    running.socket = context.wrap_socket(running.socket, server_side=True)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield Running(running.server_port, certificate[1].read_bytes(), state)
    running.shutdown()
    running.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_FIRST_DELAY_SECONDS", 0.001)


def image(directory: Path, *contents: bytes) -> Image:
    blobs = []
    for content in contents:
        digest = hashlib.sha256(content).hexdigest()
        (directory / digest).write_bytes(content)
        blobs.append(Blob(f"sha256:{digest}", len(content), directory / digest))
    manifest = json.dumps([blob.digest for blob in blobs]).encode()
    return Image(f"sha256:{hashlib.sha256(manifest).hexdigest()}", manifest, tuple(blobs))


def busy(status: int, **headers: str) -> Callable[[Handler], bool]:
    def fault(handler: Handler) -> bool:
        handler.answer(status, b"", **headers)
        return True

    return fault


def breaking(method: str, count: int, nth: int = 1) -> Callable[[Handler], bool]:
    """Take `count` bytes of the body of the `nth` such request into the upload, then cut the connection."""
    seen = [0]

    def fault(handler: Handler) -> bool:
        if handler.command != method or "/uploads/" not in handler.path:
            return False
        seen[0] += 1
        if seen[0] < nth:
            return False
        name = handler.path.partition("?")[0].rpartition("/")[2]
        data = handler.rfile.read(count)
        handler.state.received += len(data)
        handler.state.uploads[name] += data
        handler.close_connection = True
        handler.connection.close()
        return True

    return fault


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_registry_is_asked_again(server: Running, status: int) -> None:
    server.state.faults += [busy(status), busy(status)]
    with server.client() as registry:
        registry.ping()
    assert len(server.state.requests) == 3


def test_a_registry_that_stays_busy_is_given_up(server: Running) -> None:
    server.state.faults += [busy(503)] * transport.ATTEMPTS
    with server.client() as registry, pytest.raises(UnreachableError, match="503"):
        registry.ping()


@pytest.mark.parametrize(
    "location",
    ["{path}", "https://{host}{path}", "http://{host}{path}", "http://inner:5000{path}"],
)
def test_every_kind_of_location_is_followed_on_our_connection(
    server: Running, tmp_path: Path, location: str
) -> None:
    server.state.location = location
    pushed = image(tmp_path, b"config", b"layer")
    with server.client() as registry:
        registry.push(pushed, "a/b", "v1", silent)
    assert set(server.state.blobs) == {blob.digest for blob in pushed.blobs}
    puts = [path for method, path in server.state.requests if method == "PUT" and "/uploads/" in path]
    assert all("?state=1&digest=" in path for path in puts), "the registry's own query is kept"


@pytest.mark.parametrize("nth", [1, 2])
def test_a_broken_chunk_goes_on_where_the_registry_is(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    monkeypatch.setattr(upload, "MONOLITHIC_LIMIT", 1000)
    monkeypatch.setattr(upload, "CHUNK", 100_000)
    content = bytes(range(256)) * 1000
    server.state.faults.append(breaking("PATCH", 30_000, nth))
    with server.client() as registry:
        registry.push(image(tmp_path, content), "a/b", "v1", silent)
    assert list(server.state.blobs.values()) == [content]
    assert server.state.received == len(content), "no byte is sent twice"


def test_a_broken_put_is_sent_anew(server: Running, tmp_path: Path) -> None:
    content = bytes(1_000_000)
    server.state.faults.append(breaking("PUT", 1000))
    with server.client() as registry:
        result = registry.push(image(tmp_path, content), "a/b", "v1", silent)
    assert (result.blobs_sent, result.bytes_sent) == (1, len(content))
    assert list(server.state.blobs.values()) == [content]


def test_the_manifest_is_sent_last_and_read_back(server: Running, tmp_path: Path) -> None:
    with server.client() as registry:
        registry.push(image(tmp_path, b"one", b"two", b"three"), "a/b", "v1", silent)
        assert server.state.requests[-1] == ("PUT", "/v2/a/b/manifests/v1")
        server.state.wrong_digest = True
        with pytest.raises(ProvisionError, match="instead of"):
            registry.push(image(tmp_path, b"four"), "a/b", "v2", silent)


def test_a_refusal_ends_the_push_before_the_manifest(server: Running, tmp_path: Path) -> None:
    pushed = image(tmp_path, b"one", b"two")
    pushed.blobs[1].path.write_bytes(b"twx")
    with server.client() as registry, pytest.raises(ProvisionError, match="DIGEST_INVALID"):
        registry.push(pushed, "a/b", "v1", silent)
    assert not server.state.manifests


def test_a_limit_of_a_proxy_is_explained(server: Running, tmp_path: Path) -> None:
    server.state.faults.append(busy(413))
    with server.client() as registry, pytest.raises(ProvisionError) as caught:
        registry.ping()
    assert "client_max_body_size" in caught.value.hint


def test_tokens(server: Running, tmp_path: Path) -> None:
    server.state.token = "t0ken"  # noqa: S105
    with server.client(username="me", password="secret") as registry:  # noqa: S106
        registry.push(image(tmp_path, b"one"), "a/b", "v1", silent)
    asked = next(path for _, path in server.state.requests if path.startswith("/token"))
    assert "service=s" in asked
    assert "scope=repository%3Aa%2Fb%3Apull%2Cpush" in asked
    with (
        server.client(username="me", password="wrong") as registry,  # noqa: S106
        pytest.raises(ProvisionError, match="401"),
    ):
        registry.ping()


def test_silence_is_not_waited_for(certificate: tuple[Path, Path]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        registry = Registry(
            HOST, port, ca_pem=certificate[1].read_bytes(), address="127.0.0.1", stall_seconds=0.05
        )
        with registry, pytest.raises(UnreachableError):
            registry.ping()


def test_nobody_listens(certificate: tuple[Path, Path]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (
        Registry(HOST, port, ca_pem=None, address="127.0.0.1") as registry,
        pytest.raises(UnreachableError, match="refused"),
    ):
        registry.ping()


@pytest.mark.parametrize(
    ("header", "scheme", "parameters"),
    [
        ('Basic realm="a, b"', "basic", {"realm": "a, b"}),
        (
            'Bearer realm="https://t/x",service="r",scope="a:b:c,d"',
            "bearer",
            {"realm": "https://t/x", "service": "r", "scope": "a:b:c,d"},
        ),
        ("Negotiate", "negotiate", {}),
        ("", "", {}),
    ],
)
def test_challenges(header: str, scheme: str, parameters: dict[str, str]) -> None:
    assert Challenge.parse(header) == Challenge(scheme, parameters)
