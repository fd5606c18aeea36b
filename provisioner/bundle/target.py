"""Where a bundle may be written: nothing else that lies there is mixed with it, or written over."""

from __future__ import annotations

import os
from pathlib import Path

from provisioner.bundle.contents import INDEX, LAYOUT, SIGNATURE, read_head
from provisioner.bundle.tarball import is_packed
from provisioner.errors import InputError, Problem, ProvisionError

_OWN = frozenset((INDEX, LAYOUT, SIGNATURE, "blobs"))
_ARCHIVES = (".tgz", ".gz", ".zip", ".zst", ".xz", ".bz2", ".7z", ".oci")
_NAME = "a bundle is a folder, or one file, NAME.tar"


def check_target(path: Path, option: str = "-o", *, file: bool = False) -> None:
    """Makes the folder that it is to lie in. `file`: it has to be one. Raises InputError for what cannot be written, or
    is something else already."""
    packed = is_packed(path)
    if not packed and (file or path.name.endswith(_ARCHIVES)):
        raise _problem(option, f"{path} is no name for it", _NAME)
    folder = path.parent if packed else path
    _make(folder, option)
    if packed and path.is_dir():
        raise _problem(option, f"{path} is a folder", _NAME)
    if packed and path.exists() and not _is_bundle(path):
        raise _problem(option, f"{path} is no bundle, and is not written over", "name another file")
    others = [] if packed else sorted(each.name for each in folder.iterdir() if not _is_ours(each.name))
    if others:
        some = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise _problem(option, f"{path} holds other things than a bundle: {some}", "name a folder of its own")


def _make(folder: Path, option: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise _problem(option, f"{folder} is no folder", "name another place") from None
    except OSError as error:
        raise _problem(option, f"{folder} cannot be made: {error.strerror}", "name another place") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _problem(option, f"nothing can be written in {folder}", "name another place")


def _is_ours(name: str) -> bool:
    """Hidden names are those of what is on its way, which an interrupted run may have left."""
    return name in _OWN or name.startswith(".")


def _is_bundle(path: Path) -> bool:
    try:
        return INDEX in read_head(path)
    except ProvisionError:
        return False


def _problem(option: str, reason: str, hint: str) -> InputError:
    return InputError([Problem(option, 0, 0, reason, hint)])
