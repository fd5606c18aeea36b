"""Where a bundle may be written: nothing else that lies there is mixed with it, or written over."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path

from provisioner.bundle import oci
from provisioner.bundle.contents import INDEX, LAYOUT, SIGNATURE, read_head
from provisioner.bundle.seal import SEAL
from provisioner.bundle.tarball import is_packed
from provisioner.errors import InputError, Problem, ProvisionError

_HEAD = "|".join(re.escape(name) for name in (LAYOUT, INDEX, SIGNATURE))
# Hidden: what was on its way to such a name when a run was killed (store.write_atomically).
_OWN = re.compile(rf"blobs|{_HEAD}|\.({_HEAD})\.\w+")
_ARCHIVES = (".tgz", ".gz", ".zip", ".zst", ".xz", ".bz2", ".7z", ".oci")
_NAME = "a bundle is a folder, or one file, NAME.tar"


def check_target(path: Path, option: str = "-o", *, file: bool = False) -> None:
    """`file`: it has to be one. Raises InputError for what cannot be written, or is something else already. Nothing is
    left there: the command may yet be refused for another reason."""
    packed = is_packed(path)
    if not packed and (file or path.name.endswith(_ARCHIVES)):
        raise _problem(option, f"{path} is no name for it", _NAME)
    _try(path.parent if packed else path, option)
    if packed and path.is_dir():
        raise _problem(option, f"{path} is a folder", _NAME)
    if packed and path.exists() and not _is_bundle(path):
        raise _problem(option, f"{path} is no bundle, and is not written over", "name another file")
    if path.is_dir():
        _check_folder(path, option)


def _try(folder: Path, option: str) -> None:
    fresh = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except FileExistsError:
        raise _problem(option, f"{folder} is no folder", "name another place") from None
    except OSError as error:
        raise _problem(option, f"{folder} cannot be made: {error.strerror}", "name another place") from None
    finally:
        for each in fresh:
            with suppress(OSError):
                each.rmdir()
    if not writable:
        raise _problem(option, f"nothing can be written in {folder}", "name another place")


def _check_folder(path: Path, option: str) -> None:
    try:
        others = sorted(each.name for each in path.iterdir() if not _OWN.fullmatch(each.name))
        ours = not (path / INDEX).exists() or _is_ours((path / INDEX).read_bytes())
    except OSError as error:
        raise _problem(option, f"{path} cannot be read: {error.strerror}", "name another place") from None
    if others:
        some = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        raise _problem(option, f"{path} holds other things than a bundle: {some}", "name a folder of its own")
    if not ours:
        hint = f"name a folder of its own; where it was a bundle, delete its {INDEX}"
        raise _problem(option, f"{path} is of another program: its {INDEX} is of no bundle", hint)


def _is_bundle(path: Path) -> bool:
    try:
        return _is_ours(read_head(path)[INDEX].read())
    except (ProvisionError, OSError, ValueError):
        return False


def _is_ours(index: bytes) -> bool:
    """Other programs write OCI layouts, too, whose blobs would go. Ours is known by its seal, even where it is damaged;
    releases before it named the component of each part."""
    if SEAL.encode() in index:
        return True
    try:
        return all(oci.COMPONENT in entry["annotations"] for entry in json.loads(index)["manifests"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


def _problem(option: str, reason: str, hint: str) -> InputError:
    return InputError([Problem(option, 0, 0, reason, hint)])
