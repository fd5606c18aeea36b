"""A registry over real TLS that holds its client to the distribution specification 1.1, and misbehaves on order.

What breaks the contract is noted in `State.violations`; the fixture fails the test for it. Faults are used up one
by one, each by the first request that it takes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from provisioner.registry.auth import Credentials
from provisioner.registry.client import Registry
from provisioner.registry.server import RegistryServer

HOST = "registry.example"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
_DIGEST = r"sha256:[0-9a-f]{64}"
_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_ROUTES = {
    "base": r"/v2/",
    "manifest": rf"/v2/(?P<name>{_NAME})/manifests/(?P<reference>{_DIGEST}|[\w][\w.-]{{0,127}})",
    "begin": rf"/v2/(?P<name>{_NAME})/blobs/uploads/",
    "upload": rf"/v2/(?P<name>{_NAME})/blobs/uploads/(?P<session>u\d+)",
    "blob": rf"/v2/(?P<name>{_NAME})/blobs/(?P<digest>{_DIGEST})",
}
_METHODS = {
    "base": {"GET"},
    "manifest": {"HEAD", "GET", "PUT"},
    "begin": {"POST"},
    "upload": {"PATCH", "PUT", "GET"},
    "blob": {"HEAD"},
}

Fault = Callable[[Any], bool]


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
    reference: str = "docker.io/library/some:v1"


@dataclass
class State:
    """What the server has: blobs and manifests by repository, uploads by session, and the faults in store.

    `scopes`: tokens serve the scopes that they were asked for only. `lifetime` is what tokens say that they live, in
    seconds; a token in `expired` is refused. `realm` is where they are had. `limit`: a proxy before it takes no larger
    bodies.
    """

    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[bytes, str]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    location: str = "{path}"
    tokens: bool = False
    realm: str = "https://{host}/token"
    basic: bool = False
    lifetime: int = 60
    issued: dict[str, list[str]] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)
    mounts: bool = True
    smallest: int = 0
    limit: int = 0
    sessions: int = 0
    wrong_digest: bool = False
    requests: list[tuple[str, str]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    received: int = 0

    @property
    def contents(self) -> set[bytes]:
        return set(self.blobs.values())


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

    def refuse(self, status: int, code: str, message: str = "no") -> None:
        self.answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode())

    def broken(self, what: str) -> None:
        """The client did what the specification does not allow."""
        self.state.violations.append(f"{self.command} {self.path}: {what}")
        self.close_connection = True
        self.refuse(400, "UNSUPPORTED", what)

    def body(self) -> bytes:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "/uploads/" in self.path:
            self.state.received += len(data)
        return data

    def handle_any(self) -> None:
        state = self.state
        state.requests.append((self.command, self.path))
        for fault in state.faults[:1]:
            if fault(self):
                self.used_up(fault)
                return None
        if self.path.startswith("/token"):
            return self.issue()
        if state.limit and int(self.headers.get("Content-Length") or 0) > state.limit:
            self.close_connection = True
            return self.answer(413)
        if not self.allowed():
            return None
        path = urlsplit(self.path).path
        for route, pattern in _ROUTES.items():
            match = re.fullmatch(pattern, path)
            if match:
                if self.command not in _METHODS[route]:
                    return self.broken("no such method there")
                getattr(self, f"on_{route}")(**match.groupdict())
                return None
        return self.broken("no such path")

    def used_up(self, fault: Fault) -> None:
        if fault in self.state.faults:
            self.state.faults.remove(fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

    def allowed(self) -> bool:
        state, given = self.state, self.headers.get("Authorization", "")
        if state.basic and given != _basic("me", "secret"):
            self.close_connection = True
            self.answer(401, WWW_Authenticate='Basic realm="r"')
            return False
        if not state.tokens:
            return True
        token = given.removeprefix("Bearer ")
        name = urlsplit(self.path).path.removeprefix("/v2/").split("/manifests/")[0].split("/blobs/")[0]
        wanted = [f"repository:{name}:pull,push"] if name else []
        if token in state.issued and token not in state.expired and set(wanted) <= set(state.issued[token]):
            return True
        # The body is not read: the connection ends, as Go's server does it.
        self.close_connection = True
        realm = state.realm.format(host=self.headers["Host"])
        self.answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s",scope="x"')
        return False

    def issue(self) -> None:
        if self.headers.get("Authorization") != _basic("me", "secret"):
            return self.answer(401)
        query = parse_qs(urlsplit(self.path).query)
        if query.get("service") != ["s"]:
            return self.broken("the service of the challenge is not named")
        token = f"t{len(self.state.issued)}"
        self.state.issued[token] = query.get("scope", [])
        return self.answer(
            200, json.dumps({"access_token": token, "expires_in": self.state.lifetime}).encode()
        )

    def on_base(self) -> None:
        self.answer(200, b"{}")

    def on_blob(self, name: str, digest: str) -> None:
        data = self.state.blobs.get((name, digest))
        self.answer(404 if data is None else 200)

    def on_begin(self, name: str) -> None:
        state, query = self.state, parse_qs(urlsplit(self.path).query)
        self.body()
        if "mount" in query:
            if "from" not in query:
                return self.broken("a mount without its source")
            digest, source = query["mount"][0], query["from"][0]
            if state.mounts and (source, digest) in state.blobs:
                state.blobs[name, digest] = state.blobs[source, digest]
                where = f"/v2/{name}/blobs/{digest}"
                return self.answer(201, Location=where, Docker_Content_Digest=digest)
        session = f"u{state.sessions}"
        state.sessions += 1
        state.uploads[session] = b""
        where = state.location.format(
            path=f"{self.path.partition('?')[0]}{session}", host=self.headers["Host"]
        )
        headers = {"Location": f"{where}?state=1", "Range": "0-0"}
        if state.smallest:
            headers["OCI_Chunk_Min_Length"] = str(state.smallest)
        return self.answer(202, b"", **headers)

    def on_upload(self, name: str, session: str) -> None:
        state, query = self.state, parse_qs(urlsplit(self.path).query)
        if query.get("state") != ["1"]:
            return self.broken("the query of the Location is lost")
        if session not in state.uploads:
            self.close_connection = True
            return self.refuse(404, "BLOB_UPLOAD_UNKNOWN")
        if self.command == "GET":
            return self.where(204, session)
        if "Content-Length" not in self.headers:
            return self.broken("no Content-Length")
        if self.command == "PATCH":
            return self.chunk(session)
        state.uploads[session] += self.body()
        digest = query.get("digest", [""])[0]
        if not re.fullmatch(_DIGEST, digest):
            return self.broken("no digest")
        data = state.uploads.pop(session)
        if "sha256:" + hashlib.sha256(data).hexdigest() != digest:
            return self.refuse(400, "DIGEST_INVALID")
        state.blobs[name, digest] = data
        return self.answer(201, Location=f"/v2/{name}/blobs/{digest}", Docker_Content_Digest=digest)

    def chunk(self, session: str) -> None:
        state = self.state
        match = re.fullmatch(r"(\d+)-(\d+)", self.headers.get("Content-Range", ""))
        if not match or self.headers.get("Content-Type") != "application/octet-stream":
            return self.broken(
                "a chunk needs Content-Range START-END and Content-Type application/octet-stream"
            )
        start, end = int(match[1]), int(match[2])
        if end - start + 1 != int(self.headers["Content-Length"]):
            return self.broken("Content-Range is not Content-Length")
        data = self.body()
        if start != len(state.uploads[session]):
            return self.where(416, session)
        state.uploads[session] += data
        return self.where(202, session)

    def where(self, status: int, session: str) -> None:
        end = max(0, len(self.state.uploads[session]) - 1)
        self.answer(status, Location=f"{self.path.partition('?')[0]}?state=1", Range=f"0-{end}")

    def on_manifest(self, name: str, reference: str) -> None:
        state = self.state
        if self.command == "PUT":
            return self.put_manifest(name, reference)
        accepted = self.headers.get("Accept", "")
        if MANIFEST not in accepted or INDEX not in accepted:
            return self.broken("Accept names not all types")
        if (name, reference) not in state.manifests:
            return self.refuse(404, "MANIFEST_UNKNOWN")
        data, kind = state.manifests[name, reference]
        return self.answer(200, data, Docker_Content_Digest=self.digest(data), Content_Type=kind)

    def put_manifest(self, name: str, reference: str) -> None:
        state, data, kind = self.state, self.body(), self.headers.get("Content-Type", "")
        document = json.loads(data)
        if kind != document.get("mediaType", kind) or kind not in {MANIFEST, INDEX}:
            return self.broken("Content-Type is not the mediaType")
        if kind == INDEX:
            lacking = [
                c["digest"] for c in document["manifests"] if (name, c["digest"]) not in state.manifests
            ]
        else:
            parts = [document["config"], *document["layers"]]
            lacking = [part["digest"] for part in parts if (name, part["digest"]) not in state.blobs]
        if lacking:
            return self.refuse(404, "MANIFEST_BLOB_UNKNOWN", lacking[0])
        digest = self.digest(data)
        if reference.startswith("sha256:") and reference != digest:
            return self.refuse(400, "DIGEST_INVALID")
        state.manifests[name, reference] = state.manifests[name, digest] = (data, kind)
        return self.answer(201, Location=f"/v2/{name}/manifests/{digest}", Docker_Content_Digest=digest)

    def digest(self, data: bytes) -> str:
        return "sha256:" + hashlib.sha256(b"other" if self.state.wrong_digest else data).hexdigest()


@dataclass(frozen=True)
class Running:
    port: int
    ca: bytes
    state: State

    def client(self, **options: Any) -> Registry:
        return Registry(reached(self.port, **{"ca_pem": self.ca, "stall_seconds": 5.0, **options}))

    def asked(self, method: str, part: str = "") -> list[str]:
        return [unquote(path) for verb, path in self.state.requests if verb == method and part in path]


def reached(port: int, username: str = "", password: str = "", **options: Any) -> RegistryServer:
    """A registry on this machine."""
    account = Credentials(username, password) if username else None
    return RegistryServer(
        **{"host": HOST, "port": port, "address": "127.0.0.1", "credentials": account, **options}
    )


@contextmanager
def serve(
    key: Path,
    certificate: Path,
    state: State,
    handler: type[Handler] = Handler,
    at: tuple[str, int] = ("127.0.0.1", 0),
) -> Iterator[Running]:
    running = ThreadingHTTPServer(at, type("Bound", (handler,), {"state": state}))
    running.daemon_threads = True
    running.block_on_close = False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    # The handshake is the thread's of each connection: one that stays silent holds up nobody else.
    running.socket = context.wrap_socket(running.socket, server_side=True, do_handshake_on_connect=False)
    running.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients go away in these tests
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield Running(running.server_port, certificate.read_bytes(), state)
    finally:
        running.shutdown()
        running.server_close()


def certificate(
    directory: Path, *options: str, name: str = HOST, address: str = "127.0.0.1"
) -> tuple[Path, Path]:
    """A key and a certificate that is its own authority; `options` are more of `openssl req`."""
    key, crt = directory / "key.pem", directory / "crt.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:{address}")
    files = ("-keyout", str(key), "-out", str(crt))
    subprocess.run(
        ["openssl", "req", "-x509", *curve, *subject, *files, *options], check=True, capture_output=True
    )
    return key, crt


def image(directory: Path, *contents: bytes) -> Image:
    """Its first blob is the config."""
    blobs = []
    for content in contents:
        digest = hashlib.sha256(content).hexdigest()
        (directory / digest).write_bytes(content)
        blobs.append(Blob(f"sha256:{digest}", len(content), directory / digest))
    described = [
        {"mediaType": "application/octet-stream", "digest": blob.digest, "size": blob.size} for blob in blobs
    ]
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
    manifest = json.dumps(document).encode()
    return Image(f"sha256:{hashlib.sha256(manifest).hexdigest()}", manifest, tuple(blobs))


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
