"""The cluster's registry as its spec names it: who signs its certificate, who we are to it, whether it is a Harbor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.action.registrytrust import registry_authority
from provisioner.registry.auth import Credentials
from provisioner.registry.client import Registry
from provisioner.registry.harbor import Harbor
from provisioner.registry.harborproject import HarborProject
from provisioner.registry.kind import ImageKind
from provisioner.registry.server import RegistryServer
from provisioner.resources.model import Unknown

if TYPE_CHECKING:
    from provisioner.action.prepare import Prepared
    from provisioner.engine.events import Emit
    from provisioner.engine.plan import Plan
    from provisioner.inventory.secrets import Secret
    from provisioner.pki.cluster import ClusterState
    from provisioner.spec.model import ClusterSpec


def registry_of(spec: ClusterSpec, state: ClusterState, emit: Emit) -> tuple[Registry, HarborProject | None]:
    """Raises ProvisionError when the authority's file or the password cannot be had."""
    written = spec.registry
    server = RegistryServer(
        written.host,
        written.port,
        registry_authority(spec, state).encode(),
        written.address,
        account(written.username, written.password),
    )
    if written.kind != "harbor":
        return Registry(server), None
    project = HarborProject(lambda: Harbor(server), written.project, written.public, emit)
    return Registry(server), project


def account(username: str | None, password: Secret | None) -> Credentials | None:
    """None without a name. Raises ProvisionError when the password cannot be had."""
    return Credentials(username, password.reveal() if password else "") if username else None


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
