"""Archives that claim to be what they are not: each refused by the member and the reason, with nothing written outside,
nothing half in the store, and no traceback whatever the bytes are. The mutations are the same in every run.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import random
import resource
import tarfile
import tracemalloc
from collections.abc import Callable, Mapping
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
    old_docker,
    packed,
    written,
)

from provisioner.bundle import catalogue
from provisioner.bundle.ingest.limits import LIMITS
from provisioner.bundle.ingest.take import take
from provisioner.bundle.ingest.tartable import read_table
from provisioner.bundle.ingest.zstd import library as zstd
from provisioner.bundle.store import Finished, Store, hash_file
from provisioner.engine.events import silent
from provisioner.errors import InputError, ProvisionError

COMPONENTS = catalogue.load()
NODE = Made((layer("one"), layer("two")))
OLD, NEW, OCI = old_docker(NODE), new_docker(NODE), named_layout(NODE)
LAYER = next(name for name in OLD if name.endswith("layer.tar"))
CONFIG = f"{NODE.image_id[7:]}.json"
BLOB = blob(NODE.config)
FIRST = next(name for name, data in OCI.items() if data[:2] == b"\x1f\x8b")


def taken(tmp_path: Path, content: bytes) -> list[Finished]:
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    return take([path], COMPONENTS, Store(tmp_path / "store"), silent)


def proven_whole(tmp_path: Path) -> None:
    """Nothing outside of the store, and in it nothing that is not what its name says."""
    assert {each.name for each in tmp_path.iterdir()} <= {"image.tar", "store"}
    assert not list((tmp_path / "store" / "work").iterdir())
    blobs = tmp_path / "store" / "blobs" / "sha256"
    for each in blobs.iterdir() if blobs.exists() else ():
        assert hash_file(each)[0] == f"sha256:{each.name}"


def special(kind: bytes, name: str = "dev/evil") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.devmajor, info.devminor = kind, 1, 3
    return info


def absurd(size: int) -> bytes:
    info = tarfile.TarInfo("large")
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT) + packed(OLD)


def twice() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for data in (b"[]", b"[1]"):
            info = tarfile.TarInfo("manifest.json")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def listed(**changes: object) -> bytes:
    (entry,) = json.loads(OLD["manifest.json"])  # type: ignore[arg-type]
    return packed({**OLD, "manifest.json": json.dumps([{**entry, **changes}]).encode()})


def config(**changes: object) -> bytes:
    """With a config that is another one, under a name that says nothing of its digest."""
    data = json.dumps({**json.loads(NODE.config), **changes}).encode()
    (entry,) = json.loads(OLD["manifest.json"])  # type: ignore[arg-type]
    return packed({**OLD, "c": data, "manifest.json": json.dumps([{**entry, "Config": "c"}]).encode()})


def oci(**changes: bytes) -> bytes:
    return packed({**OCI, **changes})


def index(entry: object) -> bytes:
    return oci(**{"index.json": json.dumps({"manifests": [entry]}).encode()})


def nested() -> bytes:
    """An index that leads to itself through others cannot be made of digests; one that is deep can."""
    data, files = b'{"manifests": []}', {}
    for _ in range(12):
        files[blob(data)] = data
        data = json.dumps({"manifests": [descriptor(INDEX, data)] * 3}).encode()
    return packed({**layout(files, []), "index.json": data})


def damaged_header() -> bytes:
    """The second header with a bit flipped, which the standard library takes for the end."""
    content = bytearray(packed(OLD))
    second = 512 + -(-len(NODE.layers[0]) // 512) * 512
    content[second + 10] ^= 1
    return bytes(content)


CASES: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "path traversal": (
        lambda: packed({**OLD, "../../evil": b"x"}),
        "../../evil: leads out of the archive",
    ),
    "traversal in the middle": (
        lambda: packed({**OLD, "a/../../evil": b"x"}),
        "a/../../evil: leads out of the archive",
    ),
    "absolute path": (lambda: packed({**OLD, "/etc/evil": b"x"}), "/etc/evil: leads out of the archive"),
    "symbolic link to an absolute path": (
        lambda: packed({**OLD, "a/evil": link("a/evil", "/etc/shadow")}),
        "a/evil: is a link out of the archive, to /etc/shadow",
    ),
    "symbolic link that climbs out": (
        lambda: packed({**OLD, "a/evil": link("a/evil", "../../shadow")}),
        "a/evil: is a link out of the archive, to ../../shadow",
    ),
    "hard link out": (
        lambda: packed({**OLD, "a/evil": link("a/evil", "../shadow", tarfile.LNKTYPE)}),
        "a/evil: is a link out of the archive, to ../shadow",
    ),
    "layer that is a link to itself": (
        lambda: packed({**OLD, LAYER: link(LAYER, "layer.tar")}),
        f"{LAYER}: is a link that leads to itself",
    ),
    "layer that is a link to nothing": (
        lambda: packed({**OLD, LAYER: link(LAYER, "gone")}),
        f"{LAYER}: leads to {LAYER.replace('layer.tar', 'gone')}, which is missing",
    ),
    "character device": (lambda: packed({**OLD, "d": special(tarfile.CHRTYPE)}), "dev/evil: is a character device"),
    "block device": (lambda: packed({**OLD, "d": special(tarfile.BLKTYPE)}), "dev/evil: is a block device"),
    "named pipe": (lambda: packed({**OLD, "d": special(tarfile.FIFOTYPE)}), "dev/evil: is a named pipe"),
    "sparse file": (lambda: packed({**OLD, "d": special(b"S")}), "dev/evil: is a sparse file"),
    "terminal's control characters": (
        lambda: packed({**OLD, "d": special(tarfile.FIFOTYPE, "a\x1b[2Jb")}),
        "a\\x1b[2Jb: is a named pipe",
    ),
    "size that is absurd": (
        lambda: absurd(1 << 50),
        f"large: declares {1 << 50} bytes; the most is {64 << 30}",
    ),
    "size beyond the end": (lambda: absurd(1 << 30), "large: is cut off: "),
    "member twice": (twice, "manifest.json: is in the archive twice"),
    "cut off within a layer": (lambda: packed(OLD)[:3000], f"{LAYER}: is cut off: 2488 of "),
    "no end": (
        lambda: packed({"manifest.json": b"[]"})[:1024],
        "is cut off: the header after manifest.json is missing, and the end that each archive has",
    ),
    "header with a bit flipped": (damaged_header, f"the header after {LAYER} is damaged: bad checksum"),
    "gzip cut off": (lambda: gzip.compress(packed(OLD))[:-20], "the archive: is cut off: its gzip has no end"),
    "zstd cut off": (lambda: zstd.compress(packed(OLD))[:-20], "the archive: is cut off: its zstd has no end"),
    "xz cut off": (lambda: lzma.compress(packed(OLD))[:-20], "the archive: is cut off: its xz has no end"),
    "gzip with a wrong checksum": (
        lambda: gzip.compress(packed(OLD))[:-8] + bytes(8),
        "the archive: is damaged: no gzip (Error -6 Incorrect checksum found)",
    ),
    "gzip with something behind it": (
        lambda: gzip.compress(packed(OLD)) + b"more" * 99,
        "the archive: is damaged: no gzip (Error",
    ),
    "bzip2": (
        lambda: b"BZh91AY" + bytes(600),
        "the archive: is compressed by bzip2 (unpack it, or compress it by gzip, zstd or xz)",
    ),
    "layer with other content": (
        lambda: packed({**OLD, LAYER: layer("evil")}),
        f"{LAYER}: its content has {digest(layer('evil'))}, where the image's config says {digest(NODE.layers[0])}",
    ),
    "config that is not its name": (
        lambda: packed({**OLD, CONFIG: NODE.config + b" "}),
        f"{CONFIG}: has {digest(NODE.config + b' ')}, not what its name says",
    ),
    "layer too few": (
        lambda: listed(Layers=[LAYER]),
        "manifest.json: has 1 layers, its config 2 (rootfs.diff_ids)",
    ),
    "layer that is not there": (
        lambda: listed(Layers=["gone", LAYER]),
        "gone: is not in the archive",
    ),
    "layer outside": (
        lambda: listed(Layers=["../../etc/shadow", LAYER]),
        "../../etc/shadow: leads out of the archive",
    ),
    "config outside": (lambda: listed(Config="/etc/shadow"), "/etc/shadow: leads out of the archive"),
    "name that is none": (
        lambda: listed(RepoTags=["a b:1"]),
        "manifest.json: 'docker.io/library/a b:1' is no name of an image",
    ),
    "tags that are no list": (lambda: listed(RepoTags="a:1"), "manifest.json: [0].RepoTags is no list"),
    "list that is none": (
        lambda: packed({**OLD, "manifest.json": b'{"Config": 1}'}),
        "manifest.json: is no list of images",
    ),
    "list of texts": (lambda: packed({**OLD, "manifest.json": b'["a"]'}), "manifest.json: [0] is no object"),
    "list that is no JSON": (
        lambda: packed({**OLD, "manifest.json": b"[{"}),
        "manifest.json: is no JSON: Expecting property name enclosed in double quotes: line 1 column 3 (char 2)",
    ),
    "JSON nested absurdly deep": (
        lambda: packed({**OLD, "manifest.json": b"[" * 100_000}),
        "manifest.json: is no JSON: maximum recursion depth exceeded while decoding a JSON array from a unicode string",
    ),
    "list that is absurdly large": (
        lambda: packed({**OLD, "manifest.json": b" " * (5 << 20)}),
        "manifest.json: has 5242880 bytes, which no document of an image has",
    ),
    "config without layers": (lambda: config(rootfs=1), "c: rootfs is no object"),
    "config without a system": (lambda: config(os=None), "c: os is no text"),
    "config with diff_ids that are none": (
        lambda: config(rootfs={"diff_ids": [1]}),
        "c: rootfs.diff_ids[0] is no text",
    ),
    "saved by an ancient docker": (
        lambda: packed({"repositories": b"{}", f"{'1' * 64}/json": b"{}", f"{'1' * 64}/layer.tar": layer("x")}),
        "was saved by a Docker before 1.10, whose images have no ID that their content proves",
    ),
    "layout: blob with other content": (
        lambda: oci(**{FIRST: gzip.compress(layer("evil"))}),
        f"{FIRST}: has sha256:",
    ),
    "layout: config with other content": (lambda: oci(**{BLOB: NODE.config + b" "}), f"{BLOB}: has sha256:"),
    "layout: blob that is cut off": (
        lambda: oci(**{FIRST: OCI[FIRST][:-9]}),
        f"{FIRST}: is cut off: its gzip has no end",
    ),
    "layout: blob that is no gzip": (
        lambda: oci(**{FIRST: layer("one")}),
        f"{FIRST}: is no gzip, where its manifest says application/vnd.oci.image.layer.v1.tar+gzip",
    ),
    "layout: manifest that is missing": (
        lambda: packed({"oci-layout": b"{}", "index.json": layout({}, [descriptor(MANIFEST, b"x")])["index.json"]}),
        f"{blob(b'x')}: is not in the archive",
    ),
    "layout: digest that is a path": (
        lambda: index({**descriptor(MANIFEST, b"x"), "digest": "../../x"}),
        "index.json: manifests[0] is no reference to a blob: '../../x' is no sha256 digest",
    ),
    "layout: size that is negative": (
        lambda: index({**descriptor(MANIFEST, b"x"), "size": -1}),
        "index.json: manifests[0] has a size of -1",
    ),
    "layout: something else": (
        lambda: index(descriptor("text/plain", b"x")),
        f"index.json: lists {digest(b'x')}, which is text/plain, no image",
    ),
    "layout: indexes without end": (nested, "leads to more indexes and manifests than any image has"),
    "layout: index that is a list": (lambda: oci(**{"index.json": b"[]"}), "index.json: it is no object"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused_by_name(tmp_path: Path, case: str) -> None:
    make, reason = CASES[case]
    with pytest.raises(InputError) as caught:
        taken(tmp_path, make())
    (problem,) = caught.value.problems
    assert problem.file == str(tmp_path / "image.tar")
    assert reason in str(problem)
    proven_whole(tmp_path)


def test_folder_with_links_out(tmp_path: Path) -> None:
    """Of an image layout that is a folder, and of a folder of loose files."""
    secret = tmp_path / "secret"
    secret.write_bytes(OCI[FIRST])
    folder = written(tmp_path / "in" / "layout", OCI)
    (folder / FIRST).unlink()
    (folder / FIRST).symlink_to(secret)
    (tmp_path / "in" / "kubelet").symlink_to("/bin/sh")
    (tmp_path / "in" / "gone").symlink_to("nowhere")
    (tmp_path / "in" / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "in" / "pipe")
    with pytest.raises(InputError) as caught:
        take([tmp_path / "in"], COMPONENTS, Store(tmp_path / "store"), silent)
    said = {Path(each.file).name: each.reason for each in caught.value.problems}
    assert said == {
        "layout": f"{FIRST}: is a link out of the folder, to {secret}",
        "kubelet": "is a link out of the folder, to /bin/sh",
        "gone": "cannot be read: No such file or directory",
        "circle": "cannot be read: Too many levels of symbolic links",
        "pipe": "is no file",
    }


def mutated(random_: random.Random, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(random_.choice((1, 1, 3, 20))):
        at, kind = random_.randrange(len(data)), random_.randrange(6)
        if kind == 0:
            data[at] ^= 1 << random_.randrange(8)
        elif kind == 1:
            data[at : at + random_.randrange(1, 600)] = random_.randbytes(random_.randrange(600))
        elif kind == 2:
            del data[at : at + random_.choice((1, 512, 1024, len(data)))]
        elif kind == 3:
            start = random_.randrange(len(data) or 1)
            data[at:at] = data[start : start + 512]
        elif kind == 4:
            data[at : at + 12] = b"77777777777\0"
        else:
            data[at:at] = random_.choice((b"\0" * 512, b"../", b"null", b'"', b"-1", b"\xff\xfe"))
        if not data:
            break
    return bytes(data)


SEEDS: Mapping[str, bytes] = {
    "old docker": packed(OLD),
    "new docker": packed(NEW),
    "layout": packed(OCI),
    "gzip": gzip.compress(packed(OLD), mtime=0),
    "zstd": zstd.compress(packed(OLD)),
    "xz": lzma.compress(packed(OLD)),
}


@pytest.mark.parametrize("seed", SEEDS)
def test_no_mutation_gives_a_traceback(tmp_path: Path, seed: str) -> None:
    """What is taken in spite of a mutation is an image whose config and layers are as its digests say."""
    random_ = random.Random(seed)  # noqa: S311 the same in every run
    refused = 0
    for _ in range(60):
        try:
            taken(tmp_path, mutated(random_, SEEDS[seed]))
        except ProvisionError as fault:
            refused += 1
            told = str(fault)
    assert str(tmp_path / "image.tar") in told
    proven_whole(tmp_path)
    assert refused > 20


def test_mutated_documents(tmp_path: Path) -> None:
    """JSON whose values are others: the archive around it is whole."""
    random_ = random.Random(7)  # noqa: S311 the same in every run
    values: tuple[object, ...] = (
        None,
        1,
        -1,
        "",
        "x",
        [],
        {},
        [None],
        {"a": 1},
        1e300,
        True,
        "../x",
        "\0",
        "sha256:" + "0" * 64,
    )

    def bent(node: object) -> object:
        if random_.random() < 0.15:
            return random_.choice(values)
        if isinstance(node, dict):
            return {key: bent(value) for key, value in node.items()}
        return [bent(each) for each in node] if isinstance(node, list) else node

    refused = 0
    documents = (CONFIG, BLOB, "manifest.json", "index.json")
    for number in range(150):
        files = dict((OLD, NEW, OCI)[number % 3])
        for name in documents:
            if name in files and random_.random() < 0.6:
                files[name] = json.dumps(bent(json.loads(files[name]))).encode()  # type: ignore[arg-type]
        try:
            taken(tmp_path, packed(files))
        except ProvisionError:
            refused += 1
    proven_whole(tmp_path)
    assert refused > 50


def record(key: str, value: bytes) -> bytes:
    """A line of a pax header."""
    length = len(key) + len(value) + 3
    while len(line := b"%d %s=%s\n" % (length, key.encode(), value)) != length:
        length = len(line)
    return line


def header(data: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    info = tarfile.TarInfo("attributes")
    info.type, info.size = kind, len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


def peak_of_reading(content: bytes, words: str) -> int:
    """In bytes; the archive is refused in these words."""
    tracemalloc.start()
    try:
        with pytest.raises(ProvisionError, match=words):
            read_table(io.BytesIO(content), LIMITS)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_attributes_do_not_fill_the_memory() -> None:
    """Sixteen headers of a mebibyte each say something of one member, and then one too many."""
    headers = b"".join(header(record(f"key{number}", bytes(1_000_000))) for number in range(17))
    assert peak_of_reading(headers, "more than 16 headers say what a member is") < 8 << 20


def test_attributes_are_read_in_one_pass() -> None:
    """A mebibyte of the shortest lines; looked at from the beginning each time it would take hours."""
    lines = b"4 =\n" * (250_000)
    with pytest.raises(ProvisionError, match="cut off"):
        read_table(io.BytesIO(header(lines)), LIMITS)


def test_long_names_do_not_fill_the_memory() -> None:
    long = [header(b"%04d" % number + b"x" * 900_000 + b"\0", tarfile.GNUTYPE_LONGNAME) + tarfile.TarInfo("m").tobuf()
            for number in range(40)]  # fmt: skip
    assert peak_of_reading(b"".join(long), "names of more than 33554432 bytes in all") < 80 << 20


def test_a_layout_may_have_more_blobs_than_a_process_may_have_open_files(tmp_path: Path) -> None:
    made = Made(tuple(layer(str(number)) for number in range(60)))
    folder = tmp_path / "layout"
    for name, data in named_layout(made).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 20, hard))
    try:
        (image,) = take([folder], COMPONENTS, Store(tmp_path / "store"), silent)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(image.blobs) == 62


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files" / "closed").mkdir(parents=True)
    scandir = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(InputError, match="closed: cannot be read: Permission denied"):
        take([tmp_path / "files"], COMPONENTS, Store(tmp_path / "store"), silent)


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_archives_of_an_image_the_publishers_digest_is_kept(tmp_path: Path, order: int) -> None:
    (tmp_path / "docker.tar").write_bytes(packed(OLD))
    (tmp_path / "oci.tar").write_bytes(packed(OCI))
    paths = [tmp_path / "docker.tar", tmp_path / "oci.tar"]
    (alone,) = take(paths[1:], COMPONENTS, Store(tmp_path / "alone"), silent)
    (image,) = take(paths[::order], COMPONENTS, Store(tmp_path / "store"), silent)
    assert image.entry.digest == alone.entry.digest
