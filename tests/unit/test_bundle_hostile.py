"""Files that nobody should trust: what is no bundle in them is refused by name, and nothing is written outside."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from bundles import header, member, members_of, small_bundle, summed, tar

from provisioner.bundle.contents import read_contents, read_head
from provisioner.bundle.layout import bundles_directory
from provisioner.bundle.open import open_bundle, read_bundle
from provisioner.bundle.seal import sealed
from provisioner.bundle.tarball import pack
from provisioner.bundle.tarread import BLOCK
from provisioner.bundle.verify import verify
from provisioner.engine.events import silent
from provisioner.errors import ProvisionError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return bundles_directory()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pack(small_bundle(tmp_path), tmp_path / "site.tar", silent)
    return tmp_path / "site.tar"


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def blob(letter: str) -> str:
    return f"blobs/sha256/{letter * 64}"


HOSTILE: dict[str, tuple[bytes, str]] = {
    "a path that leads out": (member("blobs/sha256/../../../../evil", b"x"), "leads out of the bundle"),
    "a path out of it by ./": (member("./../evil", b"x"), "./../evil: leads out of the bundle"),
    "a path out of it by the prefix": (header("evil", prefix="blobs/.."), "blobs/../evil: leads out of the bundle"),
    "an absolute path": (member("/tmp/evil", b"x"), "/tmp/evil: leads out of the bundle"),
    "a symbolic link": (header(blob("a"), kind=b"2", link="/etc/passwd"), "is a symbolic link"),
    "a link for the folder of the blobs": (header("blobs", kind=b"2", link="/tmp"), "blobs: is a symbolic link"),
    "a hard link": (header(blob("a"), kind=b"1", link="/etc/shadow"), "is a hard link"),
    "a link with a size": (header("blobs", size=10**9, kind=b"2", link="/tmp"), "blobs: is a symbolic link"),
    "a device": (header(blob("a"), kind=b"3"), "is a device"),
    "a block device": (header("index.json", kind=b"4"), "index.json: is a device"),
    "a pipe": (header("pipe", kind=b"6"), "pipe: is a named pipe"),
    "a sparse file": (header(blob("a"), kind=b"S"), "is a sparse file"),
    "a long name": (header("././@LongLink", 8, b"L") + b"x" * 8 + bytes(504), "a name of more than 100 bytes"),
    "a kind that nobody knows": (header("x", kind=b"V"), "x: is of a kind that no bundle has"),
    "a second index": (member("index.json", b"{}"), "index.json: is there twice"),
    "a second index by ./": (member("./index.json", b"{}"), "./index.json: is there twice"),
    "a file of one's own": (member("README", b"hello"), "README: is no part of a bundle"),
    "a folder of one's own": (header("bin/", kind=b"5"), "bin/: is no part of a bundle"),
    "a name that draws on the screen": (member("\x1b[2Jx", b""), r"'\x1b[2Jx': is no part of a bundle"),
    "a name that is no text": (header(b"\xff\xfe"), r"\xff\xfe: is no part of a bundle"),
    "no name": (header(""), "'': is no part of a bundle"),
    "a blob that nothing asks for": (member(blob("a"), b"x"), f"{blob('a')}: nothing asks for it"),
    "a size beyond the file": (header(blob("a"), 1 << 32), "1024 of its 4294967296 bytes are there: it was cut off"),
    "an absurd size": (header(blob("a"), b"\x80" + b"\x7f" * 11), "bytes are there: it was cut off"),
    "a negative size": (header(blob("a"), b"\xff" * 12), "its size is no number"),
    "a size that is no number": (header(blob("a"), b"0x10\0\0\0\0\0\0\0\0"), "its size is no number"),
    "an extended header with a path": (
        header("pax", 17, b"x") + b"17 path=../../x\n\n" + bytes(495), "an extended header with another path"),
    "an extended header with a size": (
        header("pax", 9, b"x") + b"9 size=1\n" + bytes(503), "an extended header with another size"),
    "an extended header that is none": (
        header("pax", 9, b"g") + b"99999 a=\n" + bytes(503), "an extended header that cannot be read"),
    "an extended header of 1 MiB": (
        header("pax", 1 << 20, b"x") + bytes(1 << 20), "an extended header of 1048576 bytes"),
    "bytes behind the end": (bytes(2 * BLOCK) + b"x" * BLOCK, "there are bytes after the end of the tar"),
    "much behind the end": (bytes(2 << 20), "bytes follow the end of the tar"),
    "what is no header": (b"x" * BLOCK, "is no header of a tar member"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_member_is_refused_by_name(name: str, file: Path, cache: Path, tmp_path: Path) -> None:
    part, words = HOSTILE[name]
    whole = file.read_bytes()
    at, size = members_of(whole)[-1]
    end = at + BLOCK + size + -size % BLOCK
    file.write_bytes(whole[:end] + part + bytes(2 * BLOCK))
    before = tree(tmp_path)
    for read in (lambda: open_bundle(file), lambda: verify(file, silent)):
        with pytest.raises(ProvisionError) as caught:
            read()
        assert words in caught.value.reason
        assert str(file) in caught.value.reason
    assert {name for name in tree(tmp_path) if not name.endswith(".lock")} == {*before}
    assert not [path for path in cache.rglob("*") if path.is_dir()]


def laid_out(*manifests: object, **more: bytes) -> bytes:
    """A tar with this index."""
    index = sealed({"schemaVersion": 2, "manifests": list(manifests)})
    blobs = [member(f"blobs/sha256/{name[1:]}", content) for name, content in more.items()]
    return tar(member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), member("index.json", index), *blobs)


def entry(digest: str, size: int = 2, media: str = "application/vnd.oci.image.manifest.v1+json") -> object:
    return {"mediaType": media, "digest": f"sha256:{digest}", "size": size}


EMPTY = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
LYING: dict[str, tuple[bytes, str]] = {
    "an index that is none": (tar(member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), member("index.json", b"{")),
                              "index.json: "),
    "an index that is a list": (tar(member("oci-layout", b"[]"), member("index.json", b"[]")), "index.json: "),
    "an index that is deep": (tar(member("index.json", b"[" * 100_000)), "index.json: "),
    "an index of another layout": (tar(member("oci-layout", b'{"imageLayoutVersion":"9"}'),
                                       member("index.json", sealed({"manifests": []}))), "of version '9', not 1.0.0"),
    "no layout": (tar(member("index.json", sealed({"manifests": []}))), "oci-layout: is missing"),
    "a seal of another index": (tar(member("index.json", sealed({"manifests": []}).replace(b"[]", b'[""]'))),
                                "it is not what its own digest says"),
    "an index whose seal has another name": (
        laid_out().replace(b"provision.index", b"provision.indey"), "has no digest of itself"),
    "an index whose annotations have another name": (
        laid_out().replace(b'"annotations"', b'"annotationt"'), "has no digest of itself"),
    "an index of 17 MiB": (tar(header("index.json", 17 << 20), bytes(17 << 20)), "has 17825792 bytes, which is absurd"),
    "a blob that is missing": (laid_out(entry("a" * 64)), f"sha256:{'a' * 64}: is missing; index.json asks for it"),
    "a digest that leads out": (laid_out(entry("../../x")), "is no sha256 digest"),
    "a size that lies": (laid_out(entry(EMPTY, 3), **{f"_{EMPTY}": b"{}"}), "has 2 bytes instead of 3: it was cut off"),
    "two sizes": (laid_out(entry(EMPTY, 2, "x"), entry(EMPTY, 3, "x"), **{f"_{EMPTY}": b"{}"}), "of 2 or of 3 bytes"),
    "a manifest without a config": (laid_out(entry(EMPTY), **{f"_{EMPTY}": b"{}"}), "a manifest without 'config'"),
    "an index without manifests": (
        laid_out(entry(EMPTY, 2, "application/vnd.oci.image.index.v1+json"), **{f"_{EMPTY}": b"{}"}),
        "a manifest without 'manifests'"),
    "a manifest that is not what its name says": (
        laid_out(entry(EMPTY), **{f"_{EMPTY}": b"[]"}), f"sha256:{EMPTY}: its bytes are those of sha256:4f53cda"),
    "a blob that is not what its name says": (
        laid_out(entry(EMPTY, 2, "x"), **{f"_{EMPTY}": b"[]"}), f"{EMPTY}: its bytes are those of sha256:4f53cda"),
}  # fmt: skip


@pytest.mark.parametrize("name", LYING)
def test_an_index_that_lies_is_refused(name: str, cache: Path, tmp_path: Path) -> None:
    content, words = LYING[name]
    path = tmp_path / "site.tar"
    path.write_bytes(content)
    for read in (lambda: open_bundle(path), lambda: verify(path, silent)):
        with pytest.raises(ProvisionError) as caught:
            read()
        assert words in caught.value.reason
    assert not [each for each in cache.rglob("*") if each.is_file() and not each.name.endswith(".lock")]


def test_what_is_no_tar_at_all(tmp_path: Path) -> None:
    path = tmp_path / "site.tar"
    for content in (b"", b"\x1f\x8b\x08" + bytes(600), b"x" * 4000, bytes(1024)):
        path.write_bytes(content)
        for read in (open_bundle, read_bundle, lambda path: verify(path, silent)):
            with pytest.raises(ProvisionError, match=r"no bundle|missing"):
                read(path)


def spoilt(whole: bytes, noise: random.Random) -> bytes:
    """Something done to it that leaves most of it as it was; headers get their right checksum in half the cases."""
    content = bytearray(whole)
    places = members_of(whole)
    for _ in range(noise.randint(1, 3)):
        at, size = noise.choice(places)
        spoil(content, at, size, noise)
        if noise.random() < 0.5 and len(content) >= at + BLOCK:
            content[at : at + BLOCK] = summed(bytes(content[at : at + BLOCK]))
        if len(content) < 2 * BLOCK:
            break
    return bytes(content)


def spoil(content: bytearray, at: int, size: int, noise: random.Random) -> None:
    """One change, often to the member whose header is at `at`."""
    match noise.randrange(6):
        case 0:
            content[noise.randrange(len(content))] = noise.randrange(256)
        case 1:
            content[min(at + noise.randrange(BLOCK), len(content) - 1)] = noise.randrange(256)
        case 2:
            del content[at : at + noise.choice((1, BLOCK, BLOCK + size))]
        case 3:
            content[at:at] = content[slice(*sorted(noise.choices(range(len(content)), k=2)))]
        case 4:
            content[at + BLOCK : at + BLOCK + size] = noise.randbytes(size)
        case _:
            del content[noise.randrange(len(content)) :]


def inputs(whole: bytes, count: int) -> Iterator[bytes]:
    noise = random.Random(20261128)  # noqa: S311  # the same in every run
    for _ in range(count):
        yield spoilt(whole, noise)


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.soak)])
def test_no_file_gives_a_traceback(count: int, file: Path, cache: Path, tmp_path: Path) -> None:
    """And whatever is taken is what was packed."""
    right, outside = open_bundle(file).digest, tree(tmp_path / "bundle")
    refused = 0
    for content in inputs(file.read_bytes(), count):
        file.write_bytes(content)
        for read in (read_head, read_contents, read_bundle):
            with contextlib.suppress(ProvisionError):
                read(file)
        try:
            verify(file, silent)
            assert read_bundle(file).digest == right
        except ProvisionError:
            refused += 1
        for path in cache.glob("*/index.json"):
            path.unlink()
        with contextlib.suppress(ProvisionError):
            assert open_bundle(file).digest == right
    assert refused > count * 0.9
    assert tree(tmp_path / "bundle") == outside
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "store", "cache", "site.tar"}
