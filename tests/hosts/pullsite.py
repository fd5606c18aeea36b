"""A node's containerd and what it may ask for images, in a network of their own: registries that are as they should be,
and those that fail in one way each."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE, SILENT, UNREACHABLE = "10.99.0.1", "10.99.0.99", "10.99.1.1"
"""Of the network: this host; an address behind a link that swallows all; one without a way to it."""
NAME = "registry.example"
USER, PASSWORD = "puller", "pa$$ 'word\""
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_ODD = """
import http.server, json, ssl, sys
port, certificate, status = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
class Odd(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"errors": [{"code": sys.argv[4], "message": sys.argv[5]}]}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
    do_HEAD = do_GET
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("", port), Odd)
if certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def unpacked(package: str) -> Path:
    """Debian's package as a tree; unpacked, because installing it would start a service."""
    tree = platformdirs.user_cache_path("provision") / "tests" / package
    if not tree.is_dir():
        tree.parent.mkdir(parents=True, exist_ok=True)
        work = tree.with_suffix(f".{os.getpid()}")
        work.mkdir()
        subprocess.run(["apt-get", "-q", "download", package], cwd=work, check=True)
        subprocess.run(["dpkg-deb", "-x", str(next(work.glob("*.deb"))), "tree"], cwd=work, check=True)
        (work / "tree").rename(tree)
    return tree


@dataclass(frozen=True)
class Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def new(cls, name: str) -> Authority:
        key, said = ec.generate_private_key(ec.SECP256R1()), _named(name)
        return cls(key, _builder(said, said, key, 0).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        ).sign(key, hashes.SHA256()))  # fmt: skip

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def server(self, folder: Path, name: str = NAME, days: int = 0) -> Path:
        """A file with the key and the certificate of a server, which is valid a day from `days` on."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        made = _builder(_named(name), self.certificate.subject, key, days).add_extension(
            names, critical=False
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        public = made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        path = folder / f"{name}{days}-{time.monotonic_ns()}.pem"
        path.write_bytes(private + public)
        return path


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    begin = dt.datetime.now(dt.UTC) + dt.timedelta(days=days, minutes=-5)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin)
    return builder.not_valid_after(begin + dt.timedelta(days=1))


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


def small_image(folder: Path) -> Image:
    """One layer with one file, that containerd can unpack."""
    layer, text = io.BytesIO(), b"here\n"
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("file")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    diff = f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff]}}
    blobs = (
        _blob(folder, json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        _blob(folder, layer.getvalue(), "application/vnd.oci.image.layer.v1.tar"),
    )
    described = [{"mediaType": each.media_type, "digest": each.digest, "size": each.size} for each in blobs]
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
    ).encode()
    return Image(f"sha256:{hashlib.sha256(manifest).hexdigest()}", manifest, MANIFEST, blobs)


def store(image: Image, folder: Path, repository: str) -> None:
    """Lays the image where a registry's storage has it (distribution, registry/storage/paths.go)."""
    root = folder / "storage/docker/registry/v2"
    for digest, content in (
        (image.digest, image.manifest),
        *((b.digest, b.path.read_bytes()) for b in image.blobs),
    ):
        hexadecimal = digest.partition(":")[2]
        data = root / "blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"
        kind = "_manifests/revisions" if digest == image.digest else "_layers"
        link = root / "repositories" / repository / kind / "sha256" / hexadecimal / "link"
        for path, what in ((data, content), (link, digest.encode())):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(what)


def _blob(folder: Path, content: bytes, media_type: str) -> Blob:
    digest = hashlib.sha256(content).hexdigest()
    path = folder / digest
    path.write_bytes(content)
    return Blob(f"sha256:{digest}", len(content), path, media_type)


@dataclass(frozen=True)
class Site:
    """The network `space`, and containerd's programs in `programs`."""

    space: str
    folder: Path
    programs: Path

    def argv(self, *words: str | Path) -> list[str]:
        return ["ip", "netns", "exec", self.space, *map(str, words)]

    @contextlib.contextmanager
    def running(self, *words: str | Path, log: str, env: Mapping[str, str] | None = None) -> Iterator[None]:
        with (self.folder / log).open("ab") as said:
            process = subprocess.Popen(
                self.argv(*words), stdout=said, stderr=said, env={**os.environ, **(env or {})}
            )
            try:
                yield
            finally:
                process.terminate()
                process.wait(20)

    def listens(self, port: int) -> None:
        for _ in range(100):
            if f":{port} " in self.call("ss", "-Htln").stdout.decode():
                return
            time.sleep(0.1)
        raise TimeoutError(f"nothing listens on {port}")

    def call(
        self, *words: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.argv(*words),
            capture_output=True,
            check=False,
            timeout=150,
            env={**os.environ, **(env or {})},
        )

    @contextlib.contextmanager
    def registry(self, port: int, certificate: Path, accounts: str = "") -> Iterator[None]:
        """docker-registry; all have one storage."""
        settings: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "storage")}},
            "http": {"addr": f":{port}", "tls": {"certificate": str(certificate), "key": str(certificate)}},
        }
        if accounts:
            (self.folder / "htpasswd").write_text(accounts)
            settings["auth"] = {"htpasswd": {"realm": "test", "path": str(self.folder / "htpasswd")}}
        file = self.folder / f"registry{port}.yml"
        file.write_text(json.dumps(settings))
        program = unpacked("docker-registry") / "usr/bin/docker-registry"
        with self.running(program, "serve", file, log=f"registry{port}.log"):
            self.listens(port)
            yield

    @contextlib.contextmanager
    def odd(self, port: int, certificate: Path | str, status: int, code: str, message: str) -> Iterator[None]:
        """A server that gives every request one answer."""
        words = (sys.executable, "-c", _ODD, str(port), str(certificate), str(status), code, message)
        with self.running(*words, log=f"odd{port}.log"):
            self.listens(port)
            yield


@contextlib.contextmanager
def site(folder: Path, programs: Path) -> Iterator[Site]:
    space = f"pull{os.getpid()}"
    made = Site(space, folder, programs)
    subprocess.run(["ip", "netns", "add", space], check=True)
    try:
        for words in (
            "ip link set lo up",
            f"ip address add {HERE}/32 dev lo",
            "ip link add swallows type veth peer name nobody",
            "ip link set swallows up",
            "ip link set nobody up",
            f"ip route add {SILENT}/32 dev swallows src {HERE}",
            f"ip neighbour add {SILENT} lladdr 02:00:00:00:00:99 dev swallows",
            f"ip route add unreachable {UNREACHABLE}/32",
        ):
            done = made.call(*words.split())
            assert done.returncode == 0, (words, done.stderr)
        with names(space):
            yield made
    finally:
        subprocess.run(["ip", "netns", "delete", space], check=False)


@contextlib.contextmanager
def names(space: str) -> Iterator[None]:
    """What `ip netns exec` lays over /etc."""
    etc = Path("/etc/netns") / space
    etc.mkdir(parents=True)
    (etc / "hosts").write_text(
        f"127.0.0.1 localhost\n{HERE} {NAME} other.example\n{SILENT} silent.example\n{UNREACHABLE} far.example\n"
    )
    (etc / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    try:
        yield
    finally:
        shutil.rmtree(etc)


def basic() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
