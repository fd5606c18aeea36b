"""Archives are a function of their content."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import tarfile
from pathlib import Path

import pytest

from provisioner.bundle.archive import Entry, write_archive
from provisioner.bundle.elf import needs


def entries(directory: Path, stamp: int) -> list[Entry]:
    file = directory / f"file-{stamp}"
    file.write_bytes(b"program" * 1000)
    os.utime(file, (stamp, stamp))
    file.chmod(0o600 + stamp)
    return [
        Entry("/opt/bin/program", file=file),
        Entry("/bin/sh", link="busybox"),
        Entry("/etc/passwd", data=b"root", mode=0o644),
        Entry("/tmp", mode=0o1777),
    ]


def test_neither_times_nor_modes_nor_the_order_change_a_byte(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    first = write_archive(entries(tmp_path, 1), one)
    second = write_archive(reversed(entries(tmp_path, 7)), two)
    assert one.read_bytes() == two.read_bytes()
    assert first == second == "sha256:" + hashlib.sha256(gzip.decompress(one.read_bytes())).hexdigest()
    assert one.read_bytes()[4:8] == bytes(4), "no time in gzip's header"


def test_content(tmp_path: Path) -> None:
    write_archive(entries(tmp_path, 1), tmp_path / "archive")
    with tarfile.open(tmp_path / "archive") as archive:
        found = {member.name: member for member in archive}
        program = archive.extractfile("opt/bin/program")
        assert program is not None
        assert program.read() == b"program" * 1000
    assert list(found) == ["bin", "bin/sh", "etc", "etc/passwd", "opt", "opt/bin", "opt/bin/program", "tmp"]
    assert {(member.uid, member.gid, member.mtime) for member in found.values()} == {(0, 0, 0)}
    assert [oct(found[name].mode) for name in ("opt/bin/program", "etc/passwd", "tmp", "opt")] == [
        "0o755",
        "0o644",
        "0o1777",
        "0o755",
    ]
    assert found["bin/sh"].linkname == "busybox"


def test_an_owner_and_an_entry_that_replaces_another(tmp_path: Path) -> None:
    given = [Entry("/etc/names", data=b"old"), Entry("/status", data=b"", mode=0o600, owner=999)]
    write_archive([*given, Entry("/etc/names", data=b"new")], tmp_path / "archive")
    with tarfile.open(tmp_path / "archive") as archive:
        owners = {member.name: (member.uid, member.gid) for member in archive}
        names = archive.extractfile("etc/names")
        assert names is not None
        assert names.read() == b"new"
    assert owners == {"etc": (0, 0), "etc/names": (0, 0), "status": (999, 0)}


def test_needs_of_a_real_program() -> None:
    found = needs(Path(sys.executable).resolve())
    assert "libc.so.6" in found.libraries
    assert Path(found.interpreter).exists()


def test_what_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("#!/bin/sh\n")
    with pytest.raises(ValueError, match="ELF"):
        needs(tmp_path / "text")
