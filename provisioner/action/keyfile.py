"""Files with keys in them: 0600 before anything is in them, and never over another file unasked."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from provisioner.errors import InputError, Problem
from provisioner.inventory.secrets import Secret

_OVER = "--force writes over it"


def check_free(path: Path, *, force: bool, hint: str = _OVER) -> None:
    """Raises InputError when the file could not be written: before keys are made for it. `hint`: if it is there."""
    if path.is_dir():
        raise InputError([Problem(str(path), 0, 0, "is a folder", "name a file in it")])
    if not path.absolute().parent.is_dir():
        raise InputError([Problem(str(path), 0, 0, "its folder is not there")])
    if os.path.lexists(path) and not force:
        raise InputError([Problem(str(path), 0, 0, "there is a file already", hint)])


def write_secret(text: Secret, path: Path, *, force: bool) -> None:
    """Writes the file, whole or not at all. Raises InputError as `check_free`, OSError."""
    check_free(path, force=force)
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(
            os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as stream:
            stream.write(text.reveal())
        if force:
            new.replace(path)
        else:
            os.link(new, path)  # unlike a renaming it fails where a file has come up meanwhile
    except FileExistsError:
        raise InputError([Problem(str(path), 0, 0, "there is a file already", _OVER)]) from None
    finally:
        new.unlink(missing_ok=True)
