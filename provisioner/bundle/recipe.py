"""The key of a component: a digest of everything that its result depends on."""

from __future__ import annotations

from dataclasses import asdict

from provisioner.bundle import oci
from provisioner.bundle.archive import LEVEL
from provisioner.bundle.catalogue import Component
from provisioner.bundle.frommodule import Inputs

# Count up when the same inputs give another result, as after a change of the packing.
_FORMAT = 1


def release_key(component: Component) -> str:
    return _key([_FORMAT, "release", asdict(component)])


def module_key(component: Component, inputs: Inputs, toolchain: str) -> str:
    """`toolchain` is Go's version: another one makes other bytes."""
    files = sorted(path for path in component.module.wrapper.iterdir() if path.is_file())
    wrapper = [[path.name, oci.digest_of(path.read_bytes())] for path in files]
    return _key([_FORMAT, "module", asdict(component), asdict(inputs), toolchain, wrapper, LEVEL])


def _key(parts: list[object]) -> str:
    return oci.digest_of(oci.encode(parts))[7:]
