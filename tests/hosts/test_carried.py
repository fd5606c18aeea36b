"""A bundle in one file and other people's programs: minisign, skopeo, oras, a registry, and a disk that is full."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest
from bundles import PAUSE, small_bundle
from test_registry_push import serve

from provisioner.bundle.layout import Bundle
from provisioner.bundle.minisign import PublicKey
from provisioner.bundle.open import open_bundle
from provisioner.bundle.signed import check_signature, read_public_key, sign
from provisioner.bundle.tarball import pack
from provisioner.engine.events import silent
from provisioner.errors import ProvisionError

pytest_plugins = ["test_registry_push"]

ORAS = "oras.land/oras/cmd/oras@v1.2.3"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_bundle(tmp_path)


@pytest.fixture
def file(folder: Path, tmp_path: Path) -> Path:
    pack(folder, tmp_path / "site.tar", silent)
    return tmp_path / "site.tar"


@pytest.fixture(scope="session")
def oras() -> Path:
    """Built from its Go module, once."""
    program = platformdirs.user_cache_path("provision") / "tests" / ORAS.replace("/", "-") / "oras"
    if not program.exists():
        environment = {**os.environ, "GOBIN": str(program.parent), "GOFLAGS": "-mod=mod"}
        subprocess.run(["go", "install", ORAS], env=environment, check=True, capture_output=True)
    return program


def run(*command: str | Path, typed: str = "", cwd: Path | None = None) -> str:
    done = subprocess.run(command, input=typed, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.stderr}"
    return done.stdout


def unasked() -> bytes:
    raise AssertionError("the key is not encrypted")


@pytest.fixture
def key(tmp_path: Path) -> PublicKey:
    run("minisign", "-G", "-W", "-p", tmp_path / "k.pub", "-s", tmp_path / "k.key")
    return read_public_key(str(tmp_path / "k.pub"))


def test_minisign_takes_what_is_signed_here(folder: Path, file: Path, key: PublicKey, tmp_path: Path) -> None:
    public = tmp_path / "k.pub"
    sign(folder, tmp_path / "k.key", unasked, "of the site's archive")
    told = run("minisign", "-V", "-H", "-p", public, "-m", folder / "index.json")
    assert "Trusted comment: of the site's archive" in told
    sign(file, tmp_path / "k.key", unasked)
    run("tar", "xf", file, "index.json", cwd=tmp_path)
    index, signature = tmp_path / "index.json", tmp_path / "site.tar.minisig"
    assert key.name in public.read_text()
    run("minisign", "-V", "-p", public, "-m", index, "-x", signature)
    index.write_bytes(index.read_bytes().replace(b"kubelet", b"kubelex"))
    done = subprocess.run(
        ["minisign", "-V", "-p", public, "-m", index, "-x", signature], check=False, capture_output=True
    )
    assert done.returncode != 0


@pytest.mark.parametrize("legacy", [False, True])
def test_what_minisign_signs_is_taken_here(
    folder: Path, key: PublicKey, tmp_path: Path, legacy: bool
) -> None:
    more = ["-l"] if legacy else []
    run("minisign", "-S", *more, "-s", tmp_path / "k.key", "-m", folder / "index.json", "-t", "by hand")
    assert check_signature(folder, key)[1] == "by hand"
    pack(folder, tmp_path / "signed.tar", silent)
    assert open_bundle(tmp_path / "signed.tar", silent, key).digest == Bundle.open(folder).digest


def test_a_key_that_minisign_encrypted(folder: Path, tmp_path: Path) -> None:
    public, secret = tmp_path / "k.pub", tmp_path / "k.key"
    run("minisign", "-G", "-p", public, "-s", secret, typed="a phrase\na phrase\n")
    sign(folder, secret, lambda: b"a phrase")
    run("minisign", "-V", "-p", public, "-m", folder / "index.json")
    with pytest.raises(ProvisionError, match="passphrase of the key is wrong"):
        sign(folder, secret, lambda: b"another")


@pytest.mark.parametrize("packed", [False, True])
def test_skopeo_and_a_registry_keep_the_digest(
    packed: bool, folder: Path, file: Path, program: Path, tmp_path: Path
) -> None:
    place = f"oci-archive:{file}" if packed else f"oci:{folder}"
    for image in Bundle.open(folder).images():
        target = tmp_path / image.digest[7:]
        copy = ("skopeo", "copy", "-q", "--insecure-policy")
        run(*copy, f"{place}:{image.reference}", f"dir:{target}")
        assert (target / "manifest.json").read_bytes() == image.manifest
        for blob in image.blobs:
            assert (target / blob.digest[7:]).read_bytes() == blob.path.read_bytes()
    image = Bundle.open(folder).image(PAUSE)
    (tmp_path / "registry").mkdir()
    with serve(program, tmp_path / "registry") as running:
        there = f"docker://127.0.0.1:{running.port}/k8s/pause:3.10"
        run(*copy, "--dest-tls-verify=false", f"{place}:{PAUSE}", there)
        with running.client() as registry:
            assert registry.digest("k8s/pause", "3.10") == image.digest


def test_oras_reads_the_file(file: Path, folder: Path, oras: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(folder)
    for entry in json.loads((folder / "index.json").read_bytes())["manifests"]:
        raw = run(oras, "manifest", "fetch", "--oci-layout", f"{file}@{entry['digest']}")
        assert raw.encode() == (folder / "blobs/sha256" / entry["digest"][7:]).read_bytes()
        if entry["annotations"]["provision.component"] == "kubelet":
            run(oras, "pull", "--oci-layout", f"{file}@{entry['digest']}", "-o", tmp_path / "pulled")
    assert (tmp_path / "pulled/kubelet").read_bytes() == bundle.artifact("kubelet").path.read_bytes()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """24 KiB: less than the bundle's blobs."""
    path = tmp_path / "disk"
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", path)
    yield path
    run("umount", path)


def test_a_full_disk_leaves_nothing_that_looks_whole(
    file: Path, folder: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProvisionError, match="No space left") as caught:
        pack(folder, small_disk / "site.tar", silent)
    assert "are needed there" in caught.value.hint
    assert list(small_disk.iterdir()) == []
    monkeypatch.setenv("XDG_CACHE_HOME", str(small_disk))
    with pytest.raises(ProvisionError, match="No space left"):
        open_bundle(file)
    left = [path for path in small_disk.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
    whole = {path.name: path.stat().st_size for path in (folder / "blobs/sha256").iterdir()}
    assert {path.name: path.stat().st_size for path in left}.items() <= whole.items()
    # With room it goes on from there.
    run("mount", "-o", "remount,size=4m", small_disk)
    assert open_bundle(file).digest == Bundle.open(folder).digest
