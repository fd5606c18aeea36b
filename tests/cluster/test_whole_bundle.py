"""The bundle that clusters are made of, as one file: what it takes to pack, unpack and verify it, and that a changed
byte is found. The commands run as processes of their own, so that their memory can be told."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.bundle.contents import read_contents
from provisioner.bundle.layout import default_bundle_path
from provisioner.bundle.oci import digest_of
from provisioner.bundle.seal import sealed
from provisioner.bundle.tarball import pack
from provisioner.bundle.verify import verify
from provisioner.engine.events import silent
from provisioner.errors import ProvisionError

PLACES = 100
MEMORY = 200 << 20
OPEN = "import sys, pathlib; from provisioner.bundle.open import open_bundle; open_bundle(pathlib.Path(sys.argv[1]))"
MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default one, with a seal whoever built it; its blobs are links."""
    source = default_bundle_path().resolve()
    target = tmp_path_factory.mktemp("whole") / "bundle"
    (target / "blobs/sha256").mkdir(parents=True)
    for blob in (source / "blobs/sha256").iterdir():
        (target / "blobs/sha256" / blob.name).symlink_to(blob)
    (target / "oci-layout").write_bytes((source / "oci-layout").read_bytes())
    index = json.loads((source / "index.json").read_bytes())
    index.pop("annotations", None)
    (target / "index.json").write_bytes(sealed(index))
    return target


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    pack(folder, folder.parent / "site.tar", silent)
    return folder.parent / "site.tar"


def peak(*command: str | Path, **environment: str) -> int:
    """Runs it; its largest memory in bytes. By a process between, for a child's begins as what its parent's is."""
    argv = [sys.executable, "-c", MEASURED, sys.executable, *command]
    done = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024


def test_memory_and_bytes(folder: Path, file: Path, tmp_path: Path) -> None:
    provision = ("-c", "import sys; from provisioner.cli.main import main; sys.exit(main())", "bundle")
    again = tmp_path / "again.tar"
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert peak(*provision, "pack", folder, "-o", again) < MEMORY
    assert subprocess.run(["cmp", file, again], check=False).returncode == 0
    assert peak(*provision, "verify", again) < MEMORY
    assert peak("-c", OPEN, again, **cache) < MEMORY
    home = tmp_path / "cache/provision/bundles" / digest_of((folder / "index.json").read_bytes())[7:23]
    assert verify(home, silent).size == sum(path.stat().st_size for path in (home / "blobs/sha256").iterdir())


@pytest.mark.soak
def test_a_flipped_byte_is_found_wherever_it_is(file: Path) -> None:
    """In any member, and anywhere in the file."""
    places = random.Random(7)  # noqa: S311  # the same in every run
    pieces = list(read_contents(file).pieces.values())
    verify(file, silent)
    for number in range(PLACES):
        piece = places.choice(pieces)
        at = (
            piece.offset + places.randrange(piece.size)
            if number % 2
            else places.randrange(file.stat().st_size)
        )
        bit = 1 << places.randrange(8)
        flip(file, at, bit)
        with pytest.raises(ProvisionError):
            verify(file, silent)
        flip(file, at, bit)
    verify(file, silent)


def flip(path: Path, at: int, bit: int) -> None:
    with path.open("r+b") as opened:
        opened.seek(at)
        byte = opened.read(1)[0]
        opened.seek(at)
        opened.write(bytes([byte ^ bit]))
