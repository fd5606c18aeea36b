"""Turns files and layers in the store into artifacts and images: config, manifest and the entry of the
index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from provisioner.bundle import oci
from provisioner.bundle.catalogue import Component
from provisioner.bundle.oci import Descriptor
from provisioner.bundle.store import Finished, Store

_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(frozen=True)
class Layer:
    """`diff_id` is the digest of the uncompressed bytes."""

    blob: Descriptor
    diff_id: str


def describe(component: Component, origin: str) -> dict[str, str]:
    """What the index and the manifest say of a component. `origin` is release, module or file."""
    result = {
        oci.TITLE: component.title,
        oci.VERSION: component.tag or component.version,
        oci.SOURCE: component.homepage,
        oci.COMPONENT: component.name,
        oci.ORIGIN: origin,
    }
    if origin == "module":
        module = component.module
        result[oci.MODULE] = (
            f"{module.path}@{module.version()}"
            if module.path
            else f"provision/{module.source or component.name}"
        )
    return result


def entry_for(
    component: Component, manifest: Descriptor, origin: str, more: Mapping[str, str] = MappingProxyType({})
) -> Descriptor:
    """The component's line in index.json."""
    named = {oci.REF_NAME: component.wanted_name, **describe(component, origin), **more}
    kind = "" if component.kind == "image" else oci.ARTIFACT
    return replace(manifest, annotations=named, platform=component.platform, artifact_type=kind)


def artifact(
    component: Component,
    file: Path,
    origin: str,
    store: Store,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Finished:
    """A single file as an OCI artifact, with `more` notes about it; `file` moves into the store."""
    notes = {**describe(component, origin), **more}
    blob = replace(store.add_file(file, oci.FILE), annotations={oci.TITLE: component.title})
    config = store.add_bytes(oci.EMPTY_CONFIG, oci.EMPTY)
    manifest = store.add_bytes(oci.manifest(config, [blob], notes, oci.ARTIFACT), oci.MANIFEST)
    return Finished(entry_for(component, manifest, origin, more), (manifest, config, blob))


def image(component: Component, layers: Sequence[Layer], origin: str, store: Store) -> Finished:
    """An image of the layers, run as the component's recipe says."""
    notes = describe(component, origin)
    run = _run_config(component, notes)
    config_bytes = oci.image_config(component.platform, [layer.diff_id for layer in layers], run)
    config = store.add_bytes(config_bytes, oci.CONFIG)
    blobs = [layer.blob for layer in layers]
    manifest = store.add_bytes(oci.manifest(config, blobs, notes), oci.MANIFEST)
    return Finished(entry_for(component, manifest, origin), (manifest, config, *blobs))


def _run_config(component: Component, notes: Mapping[str, str]) -> dict[str, Any]:
    recipe = component.image
    if recipe is None:
        raise ValueError(f"{component.name} is no image")
    wanted = {
        "Entrypoint": list(recipe.entrypoint),
        "Cmd": list(recipe.command),
        "User": recipe.user,
        "ExposedPorts": {port: {} for port in recipe.exposed},
    }
    environment = {**_ENVIRONMENT, **dict(recipe.environment)}
    fixed = {
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "WorkingDir": recipe.directory,
    }
    labels = {name: notes[name] for name in (oci.TITLE, oci.VERSION, oci.SOURCE)}
    return {**{key: value for key, value in wanted.items() if value}, **fixed, "Labels": labels}
