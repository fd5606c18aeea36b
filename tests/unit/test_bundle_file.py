"""A bundle as one file: packed, read where it lies, unpacked once; what is damaged or hostile is refused by name."""

from __future__ import annotations

import os
import random
import tarfile
from pathlib import Path

import pytest
from bundles import PAUSE, members_of, small_bundle

from provisioner.bundle.layout import Bundle, bundles_directory
from provisioner.bundle.open import open_bundle, read_bundle
from provisioner.bundle.tarball import pack
from provisioner.bundle.tarread import BLOCK
from provisioner.bundle.verify import verify
from provisioner.engine.events import Event, Progress, silent
from provisioner.errors import LockedError, ProvisionError

PLACES = 100


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return bundles_directory()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_bundle(tmp_path)


@pytest.fixture
def file(folder: Path, tmp_path: Path) -> Path:
    pack(folder, tmp_path / "site.tar", silent)
    return tmp_path / "site.tar"


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_same_content_is_the_same_file(folder: Path, file: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    other = small_bundle(tmp_path / "elsewhere")
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
    pack(other, tmp_path / "again.tar", silent)
    pack(file, tmp_path / "third.tar", silent)
    assert (tmp_path / "again.tar").read_bytes() == file.read_bytes() == (tmp_path / "third.tar").read_bytes()
    with tarfile.open(file) as archive:
        names = archive.getnames()
        assert names[:2] == ["oci-layout", "index.json"]
        assert names[2:] == sorted(names[2:])
        archive.extractall(tmp_path / "taken", filter="data")
    assert tree(tmp_path / "taken") == tree(folder)
    assert not list(tmp_path.glob(".*"))


def test_what_other_programs_pack_is_read(folder: Path, tmp_path: Path) -> None:
    """With folders, ./ before each name, and times in extended headers."""
    with tarfile.open(tmp_path / "other.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(folder, "./")
    with tarfile.open(tmp_path / "other.tar") as archive:
        assert any("mtime" in each.pax_headers for each in archive)
    assert open_bundle(tmp_path / "other.tar").digest == Bundle.open(folder).digest
    verify(tmp_path / "other.tar", silent)


def test_a_file_is_unpacked_once(folder: Path, file: Path, cache: Path) -> None:
    seen: list[Event] = []
    bundle = open_bundle(file, seen.append)
    assert bundle.digest == Bundle.open(folder).digest
    assert bundle.path == file
    assert tree(cache / bundle.digest[7:23]) == tree(folder)
    assert bundle.artifact("kubelet").path.read_bytes() == b"kubelet"
    last = [event for event in seen if isinstance(event, Progress)][-1]
    assert last.done == last.total == sum(path.stat().st_size for path in (folder / "blobs/sha256").iterdir())
    whole = file.read_bytes()
    head = members_of(whole)[3][0]
    file.write_bytes(whole[:head] + b"x" * (len(whole) - head))
    seen.clear()
    again = open_bundle(file, seen.append)
    assert (again.contents, seen) == (bundle.contents, [])


def test_reading_does_not_unpack(folder: Path, file: Path, cache: Path) -> None:
    found = read_bundle(file)
    there = Bundle.open(folder)
    assert [part.digest for part in found.images()] == [part.digest for part in there.images()]
    assert found.image(PAUSE).blobs[1].size == there.image(PAUSE).blobs[1].size
    assert not found.artifact("kubelet").path.exists()
    assert not cache.exists()


@pytest.mark.parametrize("killed", [True, False])
def test_what_was_unpacked_before_is_kept(file: Path, cache: Path, killed: bool) -> None:
    """By one that was killed, or of what somebody removed a part."""
    bundle = open_bundle(file)
    home = cache / bundle.digest[7:23]
    kept, gone = bundle.artifact("etcd").path, bundle.artifact("kubelet").path
    was = kept.stat()
    gone.unlink()
    if killed:
        (home / "index.json").unlink()
    (gone.parent / f".{gone.name}").write_bytes(b"kub")
    again = open_bundle(file)
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (was.st_ino, was.st_mtime_ns)
    assert again.artifact("kubelet").path.read_bytes() == b"kubelet"
    verify(home, silent)


def test_what_a_killed_one_has_packed_is_kept(folder: Path, file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    part = tmp_path / f".site.tar.{Bundle.open(folder).digest[7:23]}.part"
    for content in (
        whole[:-BLOCK],
        whole[:5000] + bytes(len(whole) - 5000),
        bytes(len(whole)),
        whole + whole,
    ):
        file.unlink(missing_ok=True)
        part.write_bytes(content)
        (tmp_path / ".site.tar.0123456789abcdef.part").write_bytes(b"of another bundle")
        pack(folder, file, silent)
        assert file.read_bytes() == whole
        assert not list(tmp_path.glob(".*"))


def test_one_packs_at_a_time(folder: Path, tmp_path: Path) -> None:
    import fcntl

    part = tmp_path / f".site.tar.{Bundle.open(folder).digest[7:23]}.part"
    with part.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LockedError):
            pack(folder, tmp_path / "site.tar", silent)


def test_a_damaged_bundle_is_not_packed(folder: Path, tmp_path: Path) -> None:
    path = Bundle.open(folder).artifact("kubelet").path
    path.unlink()
    path.write_bytes(b"kubelex")
    with pytest.raises(ProvisionError, match=path.name):
        pack(folder, tmp_path / "site.tar", silent)
    assert not (tmp_path / "site.tar").exists()


@pytest.mark.parametrize("packed", [False, True])
def test_a_flipped_byte_is_found_wherever_it_is(folder: Path, file: Path, packed: bool) -> None:
    verify(file if packed else folder, silent)
    places = random.Random(f"flipped {packed}")  # noqa: S311  # the same in every run
    files = [file] if packed else sorted(path for path in folder.rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in files]
    for path in files:
        path.chmod(0o644)
    # Half of them in any file, be it small, half wherever most bytes are.
    for number in range(PLACES):
        path = places.choices(files, sizes)[0] if number % 2 else places.choice(files)
        at, bit = places.randrange(path.stat().st_size), 1 << places.randrange(8)
        flip(path, at, bit)
        with pytest.raises(ProvisionError):
            verify(file if packed else folder, silent)
        flip(path, at, bit)
    verify(file if packed else folder, silent)


def flip(path: Path, at: int, bit: int) -> None:
    with path.open("r+b") as opened:
        opened.seek(at)
        byte = opened.read(1)[0]
        opened.seek(at)
        opened.write(bytes([byte ^ bit]))


def test_each_byte_of_the_index_and_of_headers_counts(file: Path) -> None:
    """Not only those that chance finds."""
    whole = file.read_bytes()
    (start, _), (index, size), (blob, _) = members_of(whole)[:3]
    for at in (*range(start, index + BLOCK + size, 7), *range(blob, blob + BLOCK, 2)):
        flip(file, at, 1)
        with pytest.raises(ProvisionError):
            verify(file, silent)
        flip(file, at, 1)
    assert file.read_bytes() == whole


def test_all_that_is_wrong_is_told_at_once(folder: Path) -> None:
    bundle = Bundle.open(folder)
    flipped, cut = bundle.artifact("kubelet").path, bundle.artifact("etcd").path
    gone, extra = bundle.image(PAUSE).blobs[0].path, folder / "blobs/sha256" / ("0" * 64)
    flipped.chmod(0o644)
    flip(flipped, 0, 1)
    cut.chmod(0o644)
    os.truncate(cut, 77)
    gone.unlink()
    extra.write_bytes(b"")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ProvisionError) as caught:
        verify(folder, silent)
    told = caught.value.reason.splitlines()
    assert len(told) == 6
    for path, words in (
        (flipped, "its bytes are those of"), (cut, "has 77 bytes instead of 5000: it was cut off"),
        (gone, f"is missing; {PAUSE} asks for it"), (extra, "nothing asks for it"),
        (folder / "notes.txt", "no part of a bundle"),
    ):  # fmt: skip
        assert any(path.name in line and words in line for line in told), path


def test_a_file_that_was_cut_off(file: Path, cache: Path) -> None:
    whole = file.read_bytes()
    ends = [at for at, _ in members_of(whole)]
    last = ends[-1] + BLOCK + members_of(whole)[-1][1]
    for end in {*ends, *(at + 7 for at in ends), *(at + BLOCK for at in ends), last, last + BLOCK}:
        os.truncate(file, end)
        for read in (lambda: verify(file, silent), lambda: open_bundle(file)):
            with pytest.raises(ProvisionError, match=r"cut off|no tar|missing|has no index"):
                read()
        file.write_bytes(whole)
    assert not list(cache.glob("*/index.json"))
