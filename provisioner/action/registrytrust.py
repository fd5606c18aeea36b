"""What nodes and the controller trust a registry by, and how its images are named."""

from __future__ import annotations

from pathlib import Path

from provisioner.bundle.layout import Image
from provisioner.errors import ProvisionError
from provisioner.pki.cluster import ClusterState
from provisioner.registry.names import pullable
from provisioner.spec.model import ClusterSpec, Registry


def registry_authority(spec: ClusterSpec, state: ClusterState) -> str:
    """The certificates of the registry's authorities, in PEM. Raises ProvisionError when the spec's file has none."""
    if spec.registry.ca is None:
        return str(state.authorities["kubernetes"].cert)
    return authority_in(
        Path(spec.registry.ca),
        "cluster.registry.ca names the file; relative paths count from the inventory's folder",
    )


def authority_in(path: Path, hint: str) -> str:
    """The certificates in PEM in the file. Raises ProvisionError, with `hint`, when it has none, or a key."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or "it is not PEM"
        raise ProvisionError(f"the registry's authority {path} cannot be read: {why}", hint) from None
    if "-----BEGIN CERTIFICATE-----" not in text or "PRIVATE KEY" in text:
        raise ProvisionError(
            f"the registry's authority {path} holds no certificate, or a key beside it",
            "certificates in PEM, and nothing else",
        )
    return text


def pullable_from(registry: Registry, image: Image) -> str:
    """The reference, by digest, under which nodes know the bundle's image."""
    return pullable(registry.host, registry.port, image.name, image.digest, registry.project)


def node_reference(spec: ClusterSpec, image: Image) -> str:
    """The same; on nodes that others have installed its publisher's name, because those have no registry of ours and
    get it over SSH."""
    return image.reference if spec.existing is not None else pullable_from(spec.registry, image)
