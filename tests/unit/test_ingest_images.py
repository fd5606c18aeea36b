"""Archives and layouts of images come into a bundle, each image with the ID that it had."""

from __future__ import annotations

import gzip
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import (
    INDEX,
    MANIFEST,
    Made,
    blob,
    descriptor,
    digest,
    layer,
    layout,
    link,
    named_layout,
    new_docker,
    oci_image,
    old_docker,
    packed,
    written,
)

from provisioner.bundle import catalogue, write
from provisioner.bundle.ingest.limits import Limits
from provisioner.bundle.ingest.take import take
from provisioner.bundle.ingest.zstd import library as zstd
from provisioner.bundle.layout import Bundle, Image
from provisioner.bundle.store import Store, hash_file
from provisioner.bundle.verify import verify
from provisioner.engine.events import Event, Note, Progress, silent
from provisioner.errors import InputError

NODE = Made((layer("one"), layer("two")))
COMPONENTS = catalogue.load()
NAME = "docker.io/calico/node:v3.28.1"


def bundle_of(tmp_path: Path, *paths: Path, said: Callable[[Event], None] = silent) -> Bundle:
    store = Store(tmp_path / "store")
    finished = take(paths, COMPONENTS, store, said)
    write.write_bundle(finished, store, tmp_path / "bundle")
    bundle = Bundle.open(tmp_path / "bundle")
    verify(bundle.path, silent)
    return bundle


def saved(tmp_path: Path, content: bytes, name: str = "image.tar") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def id_of(image: Image) -> str:
    return str(json.loads(image.manifest)["config"]["digest"])


def plain_layers(image: Image) -> list[bytes]:
    read = [(each.media_type, each.path.read_bytes()) for each in image.blobs[1:]]
    return [zstd.decompress(data) if kind.endswith("zstd") else gzip.decompress(data) for kind, data in read]


OUTSIDE: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
    "xz": lzma.compress,
    "zstd in two frames": lambda data: zstd.compress(data[:1000]) + zstd.compress(data[1000:]),
    "gzip in two members": lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]) + bytes(512),
}


FORMS: dict[str, Callable[[], bytes]] = {
    "old docker": lambda: packed(old_docker(NODE)),
    "old docker, GNU tar": lambda: packed(old_docker(NODE), tarfile.GNU_FORMAT),
    "new docker": lambda: packed(new_docker(NODE)),
    "layout, gzip": lambda: packed(named_layout(NODE, "gzip")),
    "layout, zstd": lambda: packed(named_layout(NODE, "zstd")),
    "layout, not compressed": lambda: packed(named_layout(NODE, "")),
}


@pytest.mark.parametrize(
    ("form", "outside"), [("old docker", each) for each in OUTSIDE] + [(each, "none") for each in FORMS][1:]
)
def test_image_id_stays(tmp_path: Path, form: str, outside: str) -> None:
    image = bundle_of(tmp_path, saved(tmp_path, OUTSIDE[outside](FORMS[form]()))).image(NAME)
    assert id_of(image) == NODE.image_id
    assert image.blobs[0].path.read_bytes() == NODE.config
    assert plain_layers(image) == list(NODE.layers)
    assert image.platform == "linux/amd64"
    assert image.source == "file"


@pytest.mark.parametrize("form", ["gzip", "zstd"])
@pytest.mark.parametrize("folder", [True, False])
def test_published_digest_stays(tmp_path: Path, form: str, *, folder: bool) -> None:
    _, manifest = oci_image(NODE, form)
    files = named_layout(NODE, form)
    path = written(tmp_path / "oci", files) if folder else saved(tmp_path, packed(files))
    image = bundle_of(tmp_path, path).image(NAME)
    assert image.digest == digest(manifest)
    assert image.manifest == manifest


def test_manifest_of_a_new_docker_keeps_compressed_layers(tmp_path: Path) -> None:
    """With containerd's image store docker saves what it has pulled."""
    _, manifest = oci_image(NODE, "gzip")
    files = named_layout(NODE, "gzip")
    listed = [{"Config": blob(NODE.config), "RepoTags": ["a/b:1"], "Layers": list(files)[2:4]}]
    files["manifest.json"] = json.dumps(listed).encode()
    assert bundle_of(tmp_path, saved(tmp_path, packed(files))).image("docker.io/a/b:1").digest == digest(
        manifest
    )


def test_same_content_same_bytes(tmp_path: Path) -> None:
    """However the archive was written, and in whichever store it was taken apart."""
    digests = set()
    for number, content in enumerate((packed(old_docker(NODE)), packed(new_docker(NODE)))):
        folder = tmp_path / str(number)
        folder.mkdir()
        digests.add(bundle_of(folder, saved(folder, content)).digest)
    assert len(digests) == 1


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_several_images_share_layers(tmp_path: Path, kind: bytes) -> None:
    other = Made((NODE.layers[0], layer("three")), ("quay.io/tigera/operator:v1.34.3", "nginx:1"))
    members = old_docker(NODE, other)
    if kind == tarfile.LNKTYPE:
        name = next(name for name, each in members.items() if isinstance(each, tarfile.TarInfo))
        first = next(name for name in members if name.endswith("layer.tar"))
        members[name] = link(name, first, tarfile.LNKTYPE)
    bundle = bundle_of(tmp_path, saved(tmp_path, packed(members)))
    ids = {image.reference: id_of(image) for image in bundle.images()}
    operator, nginx = "quay.io/tigera/operator:v1.34.3", "docker.io/library/nginx:1"
    assert ids == {NAME: NODE.image_id, operator: other.image_id, nginx: other.image_id}


@pytest.mark.parametrize("tags", [None, ()])
@pytest.mark.parametrize("form", [old_docker, new_docker])
def test_image_without_a_name(
    tmp_path: Path, tags: tuple[str, ...] | None, form: Callable[..., dict[str, bytes]]
) -> None:
    nameless, notes = Made(NODE.layers, tags), list[Event]()
    bundle = bundle_of(tmp_path, saved(tmp_path, packed(form(nameless))), said=notes.append)
    (image,) = bundle.images()
    assert image.reference == f"localhost/image:sha256-{nameless.image_id[7:]}"
    assert any(isinstance(each, Note) and "an image without a name" in each.message for each in notes)


def test_platforms_of_a_nested_index(tmp_path: Path) -> None:
    arm = Made((layer("arm"),), architecture="arm64")
    blobs, manifest = oci_image(NODE, "gzip")
    _, arms = oci_image(arm, "gzip")
    attestation = descriptor(MANIFEST, b"x", platform={"os": "unknown", "architecture": "unknown"})
    inner = json.dumps(
        {
            "schemaVersion": 2,
            "manifests": [
                # Not in the layout: docker saves what it has of an image, and that is one platform.
                descriptor(MANIFEST, arms, platform={"os": "linux", "architecture": "arm64"}),
                descriptor(MANIFEST, manifest, platform={"os": "linux", "architecture": "amd64"}),
                attestation,
            ],
        }
    ).encode()
    notes = {"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": "v3.28.1"}
    files = layout({**blobs, blob(inner): inner}, [descriptor(INDEX, inner, annotations=notes)])
    (image,) = bundle_of(tmp_path, saved(tmp_path, packed(files))).images()
    assert (image.reference, image.digest) == (NAME, digest(manifest))


def test_other_platform_is_left_out_and_told(tmp_path: Path) -> None:
    notes = list[Event]()
    folder = written(tmp_path / "in", {"a.tar": packed(old_docker(Made(NODE.layers, architecture="arm64")))})
    assert bundle_of(tmp_path, folder, said=notes.append).images() == ()
    assert any(isinstance(each, Note) and "is for linux/arm64" in each.message for each in notes)


def test_second_time_nothing_is_written(tmp_path: Path) -> None:
    path = saved(tmp_path, packed(old_docker(NODE)))
    bundle_of(tmp_path, path)
    blobs = tmp_path / "store" / "blobs" / "sha256"
    before = {each.name: each.stat().st_ino for each in blobs.iterdir()}
    events = list[Event]()
    bundle_of(tmp_path, path, said=events.append)
    assert {each.name: each.stat().st_ino for each in blobs.iterdir()} == before
    assert not [each for each in events if isinstance(each, Progress)]


def test_taken_up_after_a_break(tmp_path: Path) -> None:
    """An archive whose last layer is cut off leaves the first one, and nothing that is half."""
    content = packed(old_docker(NODE))
    broken = json.loads(NODE.config)
    broken["rootfs"]["diff_ids"][1] = digest(b"other")
    files = {
        "c.json": json.dumps(broken).encode(),
        "1": NODE.layers[0],
        "2": NODE.layers[1],
        "manifest.json": b'[{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["1", "2"]}]',
    }
    with pytest.raises(InputError, match="2: its content has sha256:"):
        bundle_of(tmp_path, saved(tmp_path, packed(files), "broken.tar"))
    events = list[Event]()
    bundle_of(tmp_path, saved(tmp_path, content), said=events.append)
    assert {each.total for each in events if isinstance(each, Progress)} == {len(NODE.layers[1])}
    for each in (tmp_path / "store" / "blobs" / "sha256").iterdir():
        assert hash_file(each)[0] == f"sha256:{each.name}"
    assert not list((tmp_path / "store" / "work").iterdir())


def test_two_images_of_one_name(tmp_path: Path) -> None:
    one = saved(tmp_path, packed(old_docker(NODE)), "one.tar")
    two = saved(tmp_path, packed(old_docker(Made((layer("x"),)))), "two.tar")
    with pytest.raises(InputError) as caught:
        bundle_of(tmp_path, one, two)
    assert str(caught.value) == f"{two}: has another {NAME} than {one} (leave one of them out)"


def test_more_than_the_limit(tmp_path: Path) -> None:
    """What is declared, and what comes out of little."""
    limits = Limits(content=1 << 20)
    large = packed(old_docker(Made((packed({"zeros": bytes(2 << 20)}),))))
    for content, reason in (
        (large, "declares 2099200 bytes; the most is 1048576"),
        (gzip.compress(large), "the archive: has more than 1048576 bytes within its gzip"),
        (zstd.compress(large), "the archive: has more than 1048576 bytes within its zstd"),
        (lzma.compress(large), "the archive: has more than 1048576 bytes within its xz"),
        (
            packed(named_layout(Made((packed({"zeros": bytes(2 << 20)}),)))),
            "has more than 1048576 bytes within",
        ),
    ):
        with pytest.raises(InputError) as caught:
            take([saved(tmp_path, content)], COMPONENTS, Store(tmp_path / "store"), silent, limits)
        assert reason in str(caught.value)
