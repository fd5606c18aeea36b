"""The bundle that a spec asks for."""

from __future__ import annotations

from pathlib import Path

from provisioner.bundle.layout import Bundle, default_bundle_path
from provisioner.errors import InputError, Problem
from provisioner.inventory.model import Inventory
from provisioner.inventory.words import nearest
from provisioner.spec.model import ClusterSpec

_INDEX = "index.json"


def bundle_of(inventory: Inventory, spec: ClusterSpec) -> Bundle:
    """The bundle at the spec's path, or the last one built.

    Raises InputError, at the spec's value, when there is none at its path or it lacks the spec's version;
    ProvisionError when none was built or it is broken.
    """
    path = Path(spec.bundle) if spec.bundle else default_bundle_path()
    if spec.bundle and not (path / _INDEX).exists():
        where = inventory.origin(None, "cluster", "bundle")
        raise InputError([Problem(*where, f"bundle: there is no bundle at {path}", _nearest_bundle(path))])
    bundle = Bundle.open(path)
    wanted = spec.kubernetes.version
    there = sorted(
        {each.version.removeprefix("v") for each in bundle.artifacts() if each.name == "kube-apiserver"}
    )
    if wanted not in there:
        where = inventory.origin(None, "cluster", "kubernetes", "version")
        reason = f"version: the bundle {path} has no Kubernetes {wanted}"
        raise InputError([Problem(*where, reason, _instead(wanted, there))])
    return bundle


def _instead(wanted: str, there: list[str]) -> str:
    near = there[0] if len(there) == 1 else nearest(wanted, there)
    if near:
        return f"did you mean '{near}'?"
    return f"it has {', '.join(there)}" if there else "build a whole one with `provision bundle build`"


def _nearest_bundle(path: Path) -> str:
    """A bundle beside the path, with nearly its name."""
    try:
        beside = [each.name for each in path.parent.iterdir() if (each / _INDEX).exists()]
    except OSError:
        beside = []
    near = nearest(path.name, sorted(beside))
    return (
        f"did you mean '{path.parent / near}'?"
        if near
        else f"make it with `provision bundle build -o {path}`"
    )
