"""Images that real tools have saved come into a bundle and out of it again with the same ID.

Docker 20.10 (Debian 12) and 26.1 (Debian 13) run beside each other, each in a root file system of its own that stays in
the user's cache, without a network and with a store for its images that goes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import pytest

from provisioner.bundle import catalogue, write
from provisioner.bundle.ingest.take import take
from provisioner.bundle.layout import Bundle, Image
from provisioner.bundle.mirror import mirror_for
from provisioner.bundle.store import Store
from provisioner.bundle.verify import verify
from provisioner.engine.events import silent

pytestmark = pytest.mark.hosts

ONE, TWO, NAMELESS = "docker.io/calico/node:v3.28.1", "registry.example:5000/deep/path/two:1.0", "nameless"
DOCKERD = "--bridge=none --iptables=false --ip6tables=false --storage-driver=vfs --data-root=/data"
# A mount namespace keeps what is mounted here from the machine, a process namespace ends all with the first process.
START = """
set -eu
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --rbind /sys "$1/sys"
mount -t tmpfs tmpfs "$1/run"
mkdir -p "$1/data"
mount --bind "$2" "$1/data"
cd "$1"
# Docker unpacks layers in a root that it changes by pivot_root(2), which it can where its own is a mount.
pivot_root . mnt
umount -l /mnt
exec dockerd $3 --pidfile=/run/docker.pid --host=unix:///data/docker.sock
"""


@dataclass(frozen=True)
class Docker:
    root: Path
    data: Path

    @property
    def version(self) -> str:
        """That of the daemon."""
        return self.run("version", "--format", "{{.Server.Version}}").decode()

    def run(self, *words: str, given: bytes = b"") -> bytes:
        """Docker's own client, outside of the daemon's namespaces."""
        socket = f"unix://{self.data}/docker.sock"
        loader = self.root / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
        libraries = f"{self.root}/lib/x86_64-linux-gnu:{self.root}/usr/lib/x86_64-linux-gnu"
        argv = [
            str(loader),
            "--library-path",
            libraries,
            str(self.root / "usr/bin/docker"),
            "-H",
            socket,
            *words,
        ]
        environment = {"HOME": str(self.data), "PATH": os.environ["PATH"], "DOCKER_BUILDKIT": "0"}
        done = subprocess.run(
            argv, input=given, env=environment, capture_output=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr.decode()}"
        return done.stdout

    def build(self, base: str, name: str, *texts: str) -> str:
        """An image with a layer for each text; without a name when `name` is empty. Gives its ID."""
        context = io.BytesIO()
        lines = [f"FROM {base}", *(f"COPY {each} /etc/{each}" for each in texts), 'CMD ["/none"]']
        with tarfile.open(fileobj=context, mode="w") as archive:
            for file, content in {
                "Dockerfile": "\n".join(lines),
                **{each: each * 5000 for each in texts},
            }.items():
                info = tarfile.TarInfo(file)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content.encode()))
        tag = ["-t", name] if name else []
        return self.run("build", "-q", *tag, "-", given=context.getvalue()).decode().strip()

    def id_of(self, name: str) -> str:
        return self.run("image", "inspect", "--format", "{{.Id}}", name).decode().strip()


def rooted(suite: str, *packages: str) -> Path:
    """A root file system with docker."""
    tree = platformdirs.user_cache_path("provision") / "tests" / f"docker-{suite}"
    if not tree.is_dir():
        tree.parent.mkdir(parents=True, exist_ok=True)
        fresh, source = tree.with_suffix(f".{os.getpid()}"), mirror_for(suite)
        options = [f"--keyring={source.keyring}"] if Path(source.keyring).is_file() else []
        options += ["--no-check-gpg"] if source.trusted else []
        options += ["--variant=minbase", f"--include={','.join(packages)}"]
        subprocess.run(
            ["debootstrap", *options, suite, str(fresh), source.uri], check=True, stdout=subprocess.DEVNULL
        )
        fresh.rename(tree)
    return tree


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def docker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    packages = ["docker.io", "iptables"] + (["docker-cli"] if request.param == "trixie" else [])
    root, data = rooted(request.param, *packages), tmp_path_factory.mktemp("docker")
    argv = [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--net",
        "sh",
        "-c",
        START,
        "sh",
        str(root),
        str(data),
    ]
    with (data / "log").open("wb") as log:
        daemon = subprocess.Popen([*argv, DOCKERD], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not (data / "docker.sock").exists():
            assert daemon.poll() is None, (data / "log").read_text()
            assert time.monotonic() < deadline, (data / "log").read_text()
            time.sleep(0.1)
        yield Docker(root, data)
    finally:
        daemon.kill()
        daemon.wait(30)
        shutil.rmtree(data, ignore_errors=True)


def bundled(folder: Path, *paths: Path) -> Bundle:
    store = Store(folder / "store")
    write.write_bundle(take(paths, catalogue.load(), store, silent), store, folder / "bundle")
    bundle = Bundle.open(folder / "bundle")
    verify(bundle.path, silent)
    return bundle


def id_of(image: Image) -> str:
    return str(json.loads(image.manifest)["config"]["digest"])


def skopeo(*words: str) -> bytes:
    return subprocess.run(["skopeo", *words], check=True, capture_output=True).stdout


def test_saved_and_loaded_with_one_id(docker: Docker, tmp_path: Path) -> None:
    """Several images in one archive, with several names and none, of which two share layers; through skopeo back."""
    old = docker.root.name.endswith("bookworm")
    assert docker.version.startswith("20.10." if old else "26.")
    one, short = docker.build("scratch", ONE, "a", "b"), "calico/node:v3.28.1"
    two = docker.build(short, TWO, "c")
    docker.run("tag", TWO, "extra:latest")
    none = docker.build("scratch", "", "d")
    path = tmp_path / "saved.tar"
    path.write_bytes(docker.run("save", short, TWO, "extra:latest", none))
    with tarfile.open(path) as archive:
        # What sets the two kinds of archives apart.
        assert ("index.json" in archive.getnames()) is not old
        assert any(each.issym() for each in archive.getmembers()) is old
    bundle = bundled(tmp_path, path)
    ids = {image.reference: id_of(image) for image in bundle.images()}
    nameless = f"localhost/image:{none.replace(':', '-')}"
    assert ids == {ONE: one, TWO: two, "docker.io/library/extra:latest": two, nameless: none}
    docker.run("rmi", "-f", short, TWO, "extra:latest", none)
    for name, image_id in ids.items():
        out = tmp_path / f"{image_id[7:19]}.tar"
        out.unlink(missing_ok=True)
        skopeo("copy", f"oci:{bundle.path}:{name}", f"docker-archive:{out}:{name}")
        docker.run("load", given=out.read_bytes())
        assert docker.id_of(name) == image_id


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci"])
def test_skopeo(tmp_path: Path, form: str) -> None:
    """In and out; a layout has the digest of the manifest that it had."""
    layout, name = tmp_path / "first", "registry.example/a/b:1"
    members = io.BytesIO()
    with tarfile.open(fileobj=members, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    rootfs = tmp_path / "layer.tar"
    rootfs.write_bytes(members.getvalue())
    saved = {
        "manifest.json": b'[{"Config": "c", "RepoTags": ["registry.example/a/b:1"], "Layers": ["layer.tar"]}]'
    }
    diff_id = f"sha256:{hashlib.sha256(members.getvalue()).hexdigest()}"
    saved["c"] = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    ).encode()
    for file, content in saved.items():
        (tmp_path / file).write_bytes(content)
    subprocess.run(["tar", "-C", tmp_path, "-cf", tmp_path / "in.tar", *saved, "layer.tar"], check=True)
    skopeo("copy", f"docker-archive:{tmp_path}/in.tar:{name}", f"oci:{layout}:{name}")
    path = tmp_path / ("folder" if form == "oci" else "archive.tar")
    skopeo("copy", f"oci:{layout}:{name}", f"{form}:{path}:{name}")
    (image,) = bundled(tmp_path, path).images()
    before = json.loads(skopeo("inspect", "--raw", f"oci:{layout}:{name}"))
    assert image.reference == name
    assert id_of(image) == before["config"]["digest"]
    if form != "docker-archive":
        assert image.digest == json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"]
    target = tmp_path / "out"
    skopeo("copy", f"oci:{tmp_path}/bundle:{name}", f"dir:{target}")
    assert (target / "manifest.json").read_bytes() == image.manifest
