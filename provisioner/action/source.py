"""The bundle that a spec asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.action.definitions import check_definitions
from provisioner.bundle.contents import INDEX
from provisioner.bundle.layout import Bundle, default_bundle_path
from provisioner.bundle.open import open_bundle
from provisioner.bundle.tarball import is_packed
from provisioner.engine.events import Emit, silent
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.inventory.model import Inventory
from provisioner.inventory.words import nearest
from provisioner.network.multus import ARTIFACTS, IMAGE
from provisioner.network.podnetwork import artifact_of
from provisioner.spec.model import ClusterSpec

if TYPE_CHECKING:  # cryptography takes time to import
    from provisioner.bundle.minisign import PublicKey


def bundle_of(inventory: Inventory, spec: ClusterSpec, emit: Emit = silent) -> Bundle:
    """The bundle at the spec's path, or the last one built.

    Raises InputError, at the spec's value, when there is none at its path, it lacks the spec's version or multus, or
    its release does not take what the spec hands on; ProvisionError when none was built, it is broken, or not signed
    with the spec's key, which is checked first.
    """
    path = Path(spec.bundle) if spec.bundle else default_bundle_path()
    if spec.bundle and not (path.is_file() or _is_bundle(path)):
        where = inventory.origin(None, "cluster", "bundle")
        raise InputError([Problem(*where, f"bundle: there is no bundle at {path}", _nearest_bundle(path))])
    bundle = open_bundle(path, emit, _public_key(inventory, spec))
    check_bundle(inventory, spec, bundle)
    return bundle


def key_for(path: Path) -> PublicKey | None:
    """Who must have signed the bundle of the inventory at `path`. Raises InputError."""
    from provisioner.spec.load import load_cluster

    inventory, spec = load_cluster(path)
    return _public_key(inventory, spec)


def check_bundle(inventory: Inventory, spec: ClusterSpec, bundle: Bundle) -> None:
    """Raises InputError, at the spec's value, when it lacks the spec's version or multus, or its release does not take
    what the spec hands on."""
    wanted = spec.kubernetes.version
    there = sorted(
        {each.version.removeprefix("v") for each in bundle.artifacts() if each.name == "kube-apiserver"}
    )
    if wanted not in there:
        where = inventory.origin(None, "cluster", "kubernetes", "version")
        reason = f"version: the bundle {bundle.path} has no Kubernetes {wanted}"
        raise InputError([Problem(*where, reason, _instead(wanted, there))])
    _check_images(inventory, spec, bundle)
    _check_multus(inventory, spec, bundle)
    check_definitions(inventory, spec, bundle)


def _check_images(inventory: Inventory, spec: ClusterSpec, bundle: Bundle) -> None:
    """Some plug-ins' images come into a bundle only where they are asked for."""
    wanted = artifact_of(spec)
    for each in bundle.artifacts():
        lacking = bundle.lacking(each) if each.name == wanted else ()
        if lacking:
            plugin = spec.network.plugin
            where = inventory.origin(None, "cluster", "network", "plugin")
            reason = f"plugin: the bundle {bundle.path} has not all images of {plugin}: {', '.join(lacking)}"
            host = lacking[0].partition("/")[0]
            hint = f"`provision bundle build --with {plugin}`, where {host} can be reached, brings them in"
            raise InputError([Problem(*where, reason, hint)])


def _check_multus(inventory: Inventory, spec: ClusterSpec, bundle: Bundle) -> None:
    """It comes from its publisher alone, so that a bundle that was built elsewhere may be without it."""
    network = spec.network
    if network.multus is None:
        return
    wanted = ARTIFACTS[network.multus.variant]
    images = [each for each in bundle.images() if each.name == IMAGE]
    right = [each for each in images if each.tag.endswith("-thick") == (network.multus.variant == "thick")]
    if right and any(each.name == wanted for each in bundle.artifacts()):
        return
    key = "attachments" if network.attachments else "multus"
    where = inventory.origin(None, "cluster", "network", key, key=True)
    reason = f"{key}: the bundle {bundle.path} has no multus, which its publisher alone has, not Go's modules"
    hint = (
        "build the bundle anew where raw.githubusercontent.com and ghcr.io answer, directly or through http_proxy "
        "(`provision bundle build`), and carry it here"
    )
    raise InputError([Problem(*where, reason, hint)])


def _instead(wanted: str, there: list[str]) -> str:
    near = there[0] if len(there) == 1 else nearest(wanted, there)
    if near:
        return f"did you mean '{near}'?"
    return f"it has {', '.join(there)}" if there else "build a whole one with `provision bundle build`"


def _public_key(inventory: Inventory, spec: ClusterSpec) -> PublicKey | None:
    if spec.bundle_public_key is None:
        return None
    from provisioner.bundle.signed import read_public_key

    try:
        return read_public_key(spec.bundle_public_key)
    except ProvisionError as fault:
        where = inventory.origin(None, "cluster", "bundle_public_key")
        raise InputError([Problem(*where, f"bundle_public_key: {fault.reason}", fault.hint)]) from None


def _is_bundle(path: Path) -> bool:
    """By its looks; opening it tells more."""
    return (path / INDEX).exists() or (is_packed(path) and path.is_file())


def _nearest_bundle(path: Path) -> str:
    """A bundle beside the path, with nearly its name."""
    try:
        beside = [each.name for each in path.parent.iterdir() if _is_bundle(each)]
    except OSError:
        beside = []
    near = nearest(path.name, sorted(beside))
    return (
        f"did you mean '{path.parent / near}'?"
        if near
        else f"make it with `provision bundle build -o {path}`"
    )
