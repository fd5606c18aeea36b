"""Proves a bundle: every blob has the digest that is its name. None is missing: opening proved that."""

from __future__ import annotations

from provisioner.bundle.layout import Bundle
from provisioner.bundle.store import hash_file
from provisioner.engine.events import Emit, Progress
from provisioner.errors import ProvisionError


def verify(bundle: Bundle, emit: Emit) -> int:
    """Hash everything; returns the number of bytes. Raises ProvisionError naming every damaged blob."""
    files = sorted((bundle.path / "blobs" / "sha256").iterdir())
    total, damaged = 0, []
    for number, path in enumerate(files, start=1):
        digest, size = hash_file(path)
        total += size
        if digest != f"sha256:{path.name}":
            damaged.append(f"{path} has {digest}")
        emit(Progress(task="verify", subject=path.name[:12], done=number, total=len(files), unit="blobs"))
    if damaged:
        raise ProvisionError("\n".join(damaged), "delete these files and run `provision bundle build`")
    return total
