"""Large archives, and disks that are full: in processes of their own, whose memory is theirs alone."""

from __future__ import annotations

import hashlib
import json
import lzma
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.bundle.ingest.zstd import library as zstd

pytestmark = pytest.mark.hosts

SCRIPT = """
import sys
from pathlib import Path
from provisioner.bundle import catalogue
from provisioner.bundle.ingest.take import take
from provisioner.bundle.store import Store
from provisioner.engine.events import silent
try:
    take([Path(sys.argv[1])], catalogue.load(), Store(Path(sys.argv[2])), silent)
except OSError as error:
    print(error.strerror)
status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) // 1024)
"""


def run(path: Path, store: Path) -> list[str]:
    """What is told, and the megabytes of memory that were taken at most."""
    argv = [sys.executable, "-c", SCRIPT, str(path), str(store)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


def large_archive(folder: Path, size: int, head: bytes = b"") -> Path:
    """An image of one layer: `head`, then zeros, which take no space on the disk."""
    layer = folder / "layer.tar"
    with layer.open("wb") as file:
        file.write(head)
        file.truncate(size)
    with layer.open("rb") as file:
        diff_id = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": [diff_id]}}
    (folder / "c").write_text(json.dumps(config))
    (folder / "manifest.json").write_text('[{"Config": "c", "RepoTags": ["a:1"], "Layers": ["layer.tar"]}]')
    # Without --sparse: a plain member, whose zeros tar skips when it writes them into a file.
    path = folder / "image.tar"
    subprocess.run(["tar", "-C", folder, "-cf", path, "c", "manifest.json", "layer.tar"], check=True)
    layer.unlink()
    return path


def compressed(path: Path, form: str) -> Path:
    """By the most that each tool does to find repetitions far away."""
    target = path.with_suffix(f".{form}")
    window: dict[int, int] = {zstd.CompressionParameter.window_log: 27}
    packer = lzma.LZMACompressor(preset=9) if form == "xz" else zstd.ZstdCompressor(options=window)
    with path.open("rb") as plain, target.open("wb") as file:
        while data := plain.read(1 << 20):
            file.write(packer.compress(data))
        file.write(packer.flush())
    path.unlink()
    return target


@pytest.mark.parametrize("form", ["none", "zstd", "xz"])
def test_memory_is_the_same_at_any_size(tmp_path: Path, form: str) -> None:
    path = large_archive(tmp_path, (1100 if form == "none" else 200) << 20)
    (megabytes,) = run(path if form == "none" else compressed(path, form), tmp_path / "store")
    assert int(megabytes) <= 200
    assert list((tmp_path / "store" / "components").iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_full_disk_leaves_nothing_half(tmp_path: Path, small_disk: Path) -> None:
    noise = hashlib.shake_256(b"noise").digest(8 << 20)
    said, _ = run(large_archive(tmp_path, 9 << 20, noise), small_disk / "store")
    assert said == "No space left on device"
    assert not list((small_disk / "store").glob("blobs/sha256/*"))
    assert not list((small_disk / "store" / "work").iterdir())
