"""What is kept from run to run speaks only while nothing changed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import CodeType

import pytest

from provisioner.playbook.codes import Codes
from provisioner.resources import remembered as module
from provisioner.resources.remembered import LARGE, remembered


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "_folder", lambda: tmp_path / "kept")
    monkeypatch.setattr(module, "_SETTLED", 0.05)
    path = tmp_path / "large"
    path.write_bytes(bytes(LARGE))
    time.sleep(0.1)
    return path


def test_a_large_file_is_read_once(large: Path) -> None:
    assert remembered(large, "what", lambda: ["a", 1]) == ["a", 1]
    assert remembered(large, "what", lambda: pytest.fail("asked again")) == ["a", 1]
    assert remembered(large, "another question", lambda: 2) == 2


def test_a_changed_file_is_read_again(large: Path) -> None:
    stat = large.stat()
    remembered(large, "what", lambda: "old")
    with large.open("r+b") as stream:
        stream.write(b"x")
    os.utime(large, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # ctime tells even then
    time.sleep(0.1)
    assert remembered(large, "what", lambda: "new") == "new"


def test_what_was_just_written_is_not_trusted(large: Path) -> None:
    large.write_bytes(bytes(LARGE + 1))
    assert remembered(large, "what", lambda: 1) == 1
    assert remembered(large, "what", lambda: 2) == 2


def test_a_small_file_is_not_kept(large: Path) -> None:
    large.write_bytes(b"small")
    remembered(large, "what", lambda: 1)
    assert not (large.parent / "kept").exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"stat": 1}'])
def test_a_damaged_memory_is_none(large: Path, damage: bytes) -> None:
    remembered(large, "what", lambda: "old")
    for kept in (large.parent / "kept").iterdir():
        kept.write_bytes(damage)
    assert remembered(large, "what", lambda: "new") == "new"


def _code(text: str) -> CodeType:
    return compile(text, "x", "eval")


def test_codes_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "below" / "codes"
    codes = Codes(path, "flavour")
    assert eval(codes.code("kind", "6*7", lambda: _code("6*7"))) == 42  # noqa: S307
    codes.save()
    again = Codes(path, "flavour")
    assert eval(again.code("kind", "6*7", lambda: pytest.fail("made again"))) == 42  # noqa: S307
    assert eval(again.code("other", "6*7", lambda: _code("1"))) == 1  # noqa: S307
    assert eval(Codes(path, "vanilla").code("kind", "6*7", lambda: _code("2"))) == 2  # noqa: S307


@pytest.mark.parametrize("keep", [0, 10, 40, -3])
def test_damaged_codes_are_made_again(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "codes"
    codes = Codes(path, "flavour")
    codes.code("kind", "1", lambda: _code("1"))
    codes.save()
    path.write_bytes(path.read_bytes()[:keep])
    assert eval(Codes(path, "flavour").code("kind", "1", lambda: _code("2"))) == 2  # noqa: S307


def test_what_paramiko_rarely_needs_is_not_imported() -> None:
    import subprocess

    ask = (
        "import sys, provisioner.remote.pool, paramiko.config; print('asyncio' in sys.modules);"
        " print(callable(paramiko.config.invoke.run))"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
