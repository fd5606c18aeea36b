"""Makes a component from its Go module."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from provisioner.bundle import chart, debian, golang, moduletree, oci, publish, rootfs
from provisioner.bundle.archive import Entry, write_archive
from provisioner.bundle.catalogue import Component
from provisioner.bundle.completeness import images_of
from provisioner.bundle.debian import Package
from provisioner.bundle.publish import Layer
from provisioner.bundle.store import Finished, Store
from provisioner.engine.events import Emit

ORIGIN = "module"


@dataclass(frozen=True)
class Inputs:
    """What the result depends on beside the catalogue: all of it is part of the key under which it is
    cached.
    """

    packages: tuple[Package, ...]

    @classmethod
    def of(cls, component: Component, store: Store) -> Inputs:
        """Raises ProvisionError when apt does not know a package."""
        if component.image is None:
            return NO_INPUTS
        names = rootfs.debian_packages(component.image)
        return cls(debian.resolve(names, component.architecture, store) if names else ())


NO_INPUTS = Inputs(())


def make(component: Component, inputs: Inputs, store: Store, emit: Emit) -> Finished:
    """Build, pack and store. Raises ProvisionError with the tool's last words."""
    with store.workspace() as workspace:
        if component.module.chart:
            return _rendered(component, chart.render(component, workspace, store, emit), store)
        if component.module.file:
            return _manifest(component, workspace, store)
        work = golang.Compilation(
            component.name, component.module, component.architecture, workspace / "programs"
        )
        programs = golang.compile_packages(work, workspace, emit) if component.module.packages else {}
        if component.kind == "image":
            trees = [debian.unpack(package, component.architecture, store) for package in inputs.packages]
            return _image(component, programs, trees, workspace, store)
        if component.kind == "archive":
            target = workspace / "archive"
            write_archive([Entry(path.name, file=path) for path in programs.values()], target)
            return publish.artifact(component, target, ORIGIN, store)
        (program,) = programs.values()
        return publish.artifact(component, program, ORIGIN, store)


def _manifest(component: Component, workspace: Path, store: Store) -> Finished:
    copy = workspace / "manifest"
    shutil.copyfile(golang.module_file(component.module, workspace), copy)
    return publish.artifact(component, copy, ORIGIN, store)


def _rendered(component: Component, manifest: Path, store: Store) -> Finished:
    """With the images that it asks for: not all of them need be in every bundle."""
    images = " ".join(sorted(images_of(manifest.read_bytes())))
    return publish.artifact(component, manifest, ORIGIN, store, {oci.IMAGES: images})


def _image(
    component: Component, programs: dict[str, Path], trees: Sequence[Path], workspace: Path, store: Store
) -> Finished:
    if component.image is None:
        raise ValueError(f"{component.name} has no recipe")
    target = workspace / "layer"
    system = rootfs.entries(component.image, programs, trees, component.architecture)
    own: Sequence[Entry] = ()
    if component.image.tree:
        own = moduletree.entries(component.image, golang.module_directory(component.module, workspace))
    diff_id = write_archive(chain(system, own), target)
    return publish.image(component, [Layer(store.add_file(target, oci.LAYER), diff_id)], ORIGIN, store)
