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
from provisioner.registry.kind import ImageKind
from provisioner.resources.model import Unknown

if TYPE_CHECKING:
    from provisioner.action.prepare import Prepared
    from provisioner.engine.plan import Plan
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


def check_outside(prepared: Prepared, plan: Plan | None = None) -> None:
    """Whether a registry that exists already answers this account, which nothing that follows would change. With a
    `plan` only where that has images that could not be read. Raises ProvisionError."""
    spec = prepared.loaded.spec
    if spec is None or spec.registry.address is not None or spec.registry.preload:
        return
    unread = plan is None or any(
        change.resource.kind == ImageKind.name and isinstance(change.before, Unknown)
        for _, _, change in plan.changes()
    )
    kind = prepared.kinds.get(ImageKind.name)
    if unread and isinstance(kind, ImageKind):
        kind.ping()


def read_authority(path: Path) -> bytes:
    """Raises InputError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError([Problem(str(path), 0, 0, f"cannot be read: {error.strerror}")]) from None
