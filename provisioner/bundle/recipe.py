"""The key of a component: a digest of everything that its result depends on."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

from provisioner.bundle import oci
from provisioner.bundle.archive import LEVEL
from provisioner.bundle.catalogue import Component
from provisioner.bundle.chart import HELM
from provisioner.bundle.frommodule import Inputs

# Count up when the same inputs give another result, as after a change of the packing.
_FORMAT = 1


def release_key(component: Component) -> str:
    return _key([_FORMAT, "release", _described(component)])


def module_key(component: Component, inputs: Inputs, toolchain: str) -> str:
    """`toolchain` is the version of the machine's Go: another one makes other bytes."""
    toolchain = component.module.toolchain or toolchain
    files = sorted(path for path in component.module.wrapper.iterdir() if path.is_file())
    wrapper = [[path.name, oci.digest_of(path.read_bytes())] for path in files]
    if component.module.chart:
        wrapper.append(["helm", oci.digest_of((HELM.wrapper / "go.sum").read_bytes())])
    return _key([_FORMAT, "module", _described(component), _described(inputs), toolchain, wrapper, LEVEL])


def _described(value: object) -> object:
    """The fields of a dataclass, and of those in it; of what was added to the catalogue later only what is set."""
    if isinstance(value, tuple):
        return [_described(each) for each in value]
    if not is_dataclass(value):
        return value
    pairs = [(field, getattr(value, field.name)) for field in fields(value)]
    return {
        field.name: _described(each)
        for field, each in pairs
        if not ("added" in field.metadata and each == field.default)
    }


def _key(parts: list[object]) -> str:
    return oci.digest_of(oci.encode(parts))[7:]
