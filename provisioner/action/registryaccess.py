"""The cluster's registry as its spec names it: who signs its certificate, who we are to it, whether it is a Harbor."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.action.registrytrust import registry_authority
from provisioner.errors import InputError, Problem
from provisioner.registry.client import Registry
from provisioner.registry.harbor import Harbor
from provisioner.registry.harborproject import HarborProject

if TYPE_CHECKING:
    from provisioner.pki.cluster import ClusterState
    from provisioner.spec.model import ClusterSpec


def registry_of(spec: ClusterSpec, state: ClusterState) -> tuple[Registry, HarborProject | None]:
    """Raises ProvisionError when the authority's file or the password cannot be had."""
    written = spec.registry
    connect: dict[str, Any] = {
        "ca_pem": registry_authority(spec, state).encode(),
        "address": written.address,
        "username": written.username,
        "password": written.password.reveal() if written.password else None,
    }
    registry = Registry(written.host, written.port, **connect)
    if written.kind != "harbor":
        return registry, None
    harbor = partial(Harbor, written.host, written.port, **connect)
    return registry, HarborProject(harbor, written.project, written.public)


def read_authority(path: Path) -> bytes:
    """Raises InputError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError([Problem(str(path), 0, 0, f"cannot be read: {error.strerror}")]) from None
