"""File locks that can be deleted: whoever gets one checks that the file is still the one on disk."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

RUN_DIRECTORY = Path("/run/provision-lab")
"""Facts about the running machine; gone after a boot, as the labs themselves are."""


def _open_locked(path: Path, waiting: Callable[[], None]) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (FileNotFoundError, FileExistsError):  # its last user has just removed the directory
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


@contextmanager
def locked(path: Path, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Holds the lock; `waiting` is called when another holder is there. The file is removed after."""
    descriptor = _open_locked(path, waiting)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        _remove_if_empty(path.parent)
        os.close(descriptor)


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        return


def lab_lock(key: str) -> Path:
    """The lock of one lab: everything that changes the lab holds it."""
    return RUN_DIRECTORY / f"{key}.lock"


def machine_lock() -> Path:
    """The lock of what labs share: the machine's sysctls and its routes."""
    return RUN_DIRECTORY / "machine.lock"
