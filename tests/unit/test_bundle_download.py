"""Publishers' files over real HTTP: right, wrong, cut off, continued."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3

from provisioner.bundle import catalogue, download, fromrelease, oci, pull, reach
from provisioner.bundle.catalogue import Release
from provisioner.bundle.store import Store
from provisioner.engine.events import silent
from provisioner.errors import ProvisionError

COMPONENTS = {component.name: component for component in catalogue.load()}
CONTENT = os.urandom(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Publisher:
    """`cuts` are after how many bytes the next answers break off; `ranges` whether it can continue."""

    files: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    token: str = ""
    asked: list[str] = field(default_factory=list)
    base: str = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    publisher: Publisher

    def log_message(self, *_: object) -> None:
        return

    def do_HEAD(self) -> None:
        self.answer(200 if self.path in self.publisher.files else 403, b"")

    def do_GET(self) -> None:
        publisher = self.publisher
        publisher.asked.append(f"{self.path} {self.headers.get('Range', '')}".strip())
        if self.path.startswith("/token?"):
            return self.answer(200, json.dumps({"token": publisher.token}).encode())
        if publisher.token and self.headers.get("Authorization") != f"Bearer {publisher.token}":
            realm = f'Bearer realm="{publisher.base}/token",service="s",scope="repository:pause:pull"'
            return self.answer(401, b"", ("WWW-Authenticate", realm))
        data = publisher.files.get(self.path)
        if data is None:
            return self.answer(404, b"")
        begin = int(self.headers.get("Range", "bytes=0-")[6:-1]) if publisher.ranges else 0
        if begin >= len(data) > 0:
            return self.answer(416, b"")
        span = ("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        return self.answer(206 if begin else 200, data[begin:], span)

    def answer(self, status: int, data: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.path in self.publisher.types:
            self.send_header("Content-Type", self.publisher.types[self.path])
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        cut = self.publisher.cuts.pop(0) if self.publisher.cuts and len(data) > 1000 else len(data)
        self.wfile.write(data[:cut])
        if cut < len(data):
            self.close_connection = True


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher({"/file": CONTENT, "/file.sha256": f"{SHA256}\n".encode()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"publisher": publisher}))
    publisher.base = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield publisher
    server.shutdown()
    server.server_close()


def fetch(publisher: Publisher, directory: Path) -> Path:
    return download.fetch(
        f"{publisher.base}/file", f"{publisher.base}/file.sha256", directory, lambda *_: None
    )


def test_whole(publisher: Publisher, tmp_path: Path) -> None:
    assert fetch(publisher, tmp_path).read_bytes() == CONTENT
    fetch(publisher, tmp_path)
    assert publisher.asked.count("/file") == 1, "what is there and right is not asked for again"


def test_a_wrong_checksum_is_refused_and_nothing_kept(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["/file"] = CONTENT[:-1] + b"?"
    with pytest.raises(ProvisionError, match=SHA256):
        fetch(publisher, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_digest_that_is_known_is_not_asked_for(publisher: Publisher, tmp_path: Path) -> None:
    def known(sha256: str) -> Path:
        return download.fetch(f"{publisher.base}/file", "", tmp_path, lambda *_: None, sha256=sha256)

    assert known(SHA256).read_bytes() == CONTENT
    assert publisher.asked == ["/file"]
    with pytest.raises(ProvisionError, match=f"the catalogue wants sha256:{'0' * 64}"):
        known("0" * 64)


def test_a_cut_download_goes_on_where_it_was(publisher: Publisher, tmp_path: Path) -> None:
    publisher.cuts = [1_000_000]
    assert fetch(publisher, tmp_path).read_bytes() == CONTENT
    begun = [int(line.partition("bytes=")[2].strip("-")) for line in publisher.asked if "bytes=" in line]
    assert len(begun) == 1
    assert 0 < begun[0] <= 1_000_000


def test_a_killed_download_goes_on_in_the_next_run(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / f"{SHA256}.partial").write_bytes(CONTENT[:2_000_000])
    assert fetch(publisher, tmp_path).read_bytes() == CONTENT
    assert publisher.asked[-1] == "/file bytes=2000000-"


def test_a_server_without_ranges_begins_anew(publisher: Publisher, tmp_path: Path) -> None:
    publisher.ranges = False
    (tmp_path / f"{SHA256}.partial").write_bytes(b"something else")
    assert fetch(publisher, tmp_path).read_bytes() == CONTENT


def test_a_longer_leftover_is_refused_once(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / f"{SHA256}.partial").write_bytes(CONTENT + b"more")
    with pytest.raises(ProvisionError, match="publisher states"):
        fetch(publisher, tmp_path)
    assert fetch(publisher, tmp_path).read_bytes() == CONTENT


def test_it_gives_up_and_keeps_what_came(publisher: Publisher, tmp_path: Path) -> None:
    publisher.cuts = [100_000] * 10
    with pytest.raises(ProvisionError) as caught:
        fetch(publisher, tmp_path)
    assert "goes on where it was" in caught.value.hint
    assert next(tmp_path.iterdir()).stat().st_size > 0


@pytest.mark.parametrize("missing", ["/file", "/file.sha256"])
def test_a_release_that_does_not_exist(publisher: Publisher, tmp_path: Path, missing: str) -> None:
    del publisher.files[missing]
    with pytest.raises(ProvisionError, match="404"):
        fetch(publisher, tmp_path)


HEX = "ab" * 32


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (HEX, HEX),
        (HEX.upper() + "\n", HEX),
        (f"{'cd' * 32}  other\n{HEX}  file\n", HEX),
        (f"{HEX} *file", HEX),
        (f"{HEX}  ./file", HEX),
        (
            json.dumps(
                {"assets": [{"name": "other", "digest": "x"}, {"name": "file", "digest": f"sha256:{HEX}"}]}
            ),
            HEX,
        ),
        (json.dumps({"assets": [{"name": "file", "digest": None}]}), None),
        (json.dumps({"message": "rate limit"}), None),
        (f"{HEX}  file.asc", None),
        (f"{HEX[1:]}  file", None),
        ("<html>no</html>", None),
        ("", None),
    ],
)
def test_statements(statement: str, found: str | None) -> None:
    assert download.stated_sha256(statement.encode(), "file") == found


def test_a_binary_out_of_an_archive(publisher: Publisher, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("etcd-v1/etcd")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"etcd"))
    publisher.files["/all.tar.gz"] = packed.getvalue()
    publisher.files["/SUMS"] = f"{hashlib.sha256(packed.getvalue()).hexdigest()}  all.tar.gz".encode()
    store = Store(tmp_path)
    release = Release(f"{publisher.base}/all.tar.gz", f"{publisher.base}/SUMS", "etcd-v1/etcd")
    made = fromrelease.make(replace(COMPONENTS["etcd"], release=release), store, silent)
    assert store.path(made.blobs[-1].digest).read_bytes() == b"etcd"
    assert made.entry.annotations[oci.ORIGIN] == "release"
    with pytest.raises(ProvisionError, match="no file"):
        fromrelease.make(replace(COMPONENTS["etcd"], release=replace(release, member="x")), store, silent)


def registry(publisher: Publisher) -> str:
    """An image for two platforms; returns the digest of ours."""
    layer, config = gzip.compress(b"layer" * 1000, mtime=0), b'{"os":"linux"}'
    described = [
        {"mediaType": kind, "digest": oci.digest_of(data), "size": len(data)}
        for kind, data in ((oci.CONFIG, config), (oci.LAYER, layer))
    ]
    manifest = oci.encode(
        {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": described[0], "layers": described[1:]}
    )
    entry = {"mediaType": oci.MANIFEST, "digest": oci.digest_of(manifest), "size": len(manifest)}
    other = {**entry, "digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "arm64"}}
    ours = {**entry, "platform": {"os": "linux", "architecture": "amd64"}}
    top = "/v2/pause/manifests/3.10"
    below = f"/v2/pause/manifests/{entry['digest']}"
    publisher.files |= {top: oci.encode({"schemaVersion": 2, "manifests": [other, ours]}), below: manifest}
    publisher.files |= {f"/v2/pause/blobs/{oci.digest_of(data)}": data for data in (config, layer)}
    publisher.types |= {top: oci.INDEX, below: oci.MANIFEST}
    return str(entry["digest"])


def test_an_image_from_its_publishers_registry(publisher: Publisher, tmp_path: Path) -> None:
    digest = registry(publisher)
    publisher.token = "t0ken"  # noqa: S105
    store = Store(tmp_path)
    repository = pull.Repository(f"{publisher.base}/v2/pause", urllib3.PoolManager())
    made = pull.pull(repository, COMPONENTS["pause"], store, silent)
    assert made.entry.digest == digest
    assert made.entry.annotations[oci.REF_NAME] == "registry.k8s.io/pause:3.10"
    assert all(store.has(blob) for blob in made.blobs)
    assert "/token?service=s&scope=repository%3Apause%3Apull" in publisher.asked


def test_a_blob_of_other_content_is_refused(publisher: Publisher, tmp_path: Path) -> None:
    registry(publisher)
    path = next(path for path in publisher.files if "/blobs/" in path)
    publisher.files[path] = b"?" * len(publisher.files[path])
    repository = pull.Repository(f"{publisher.base}/v2/pause", urllib3.PoolManager())
    with pytest.raises(ProvisionError, match="the blob sha256"):
        pull.pull(repository, COMPONENTS["pause"], Store(tmp_path), silent)


def test_who_can_be_reached(publisher: Publisher) -> None:
    host = publisher.base.removeprefix("http://")
    assert reach.reachable([f"{publisher.base}/file", "http://127.0.0.1:9/file"], 1.0) == {host}
    assert reach.reachable([f"{publisher.base}/forbidden"], 1.0) == frozenset()


@pytest.mark.parametrize(
    ("reference", "host"),
    [
        ("registry.k8s.io/pause", "registry.k8s.io"),
        ("ghcr.io/flannel-io/flannel", "ghcr.io"),
        ("localhost/x", "localhost"),
        ("host:5000/x", "host:5000"),
        ("library/busybox", "registry-1.docker.io"),
        ("docker.io/calico/node", "registry-1.docker.io"),
    ],
)
def test_the_host_in_a_name(reference: str, host: str) -> None:
    assert pull.registry_of(reference) == host


@pytest.mark.parametrize(
    ("reference", "address"),
    [
        ("ghcr.io/flannel-io/flannel", "https://ghcr.io/v2/flannel-io/flannel"),
        ("docker.io/calico/node", "https://registry-1.docker.io/v2/calico/node"),
        ("library/busybox", "https://registry-1.docker.io/v2/library/busybox"),
        ("host:5000/x", "https://host:5000/v2/x"),
    ],
)
def test_the_address_of_a_repository(reference: str, address: str) -> None:
    assert pull.repository_of(reference) == address
