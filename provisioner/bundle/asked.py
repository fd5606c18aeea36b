"""A bundle that writes down what it is asked for, and stands in for what it lacks."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from provisioner.bundle.catalogue import Component
from provisioner.bundle.layout import DEFAULT_PLATFORM, Artifact, Bundle, Image

_NO_DIGEST = "0" * 64
Make = Callable[[str], Artifact]
"""Gives the catalogue's artifact of a name as it is."""


@dataclass
class Asked:
    """What was asked for: components of the catalogue, and those of them that were not there, by name and platform."""

    components: dict[str, Component] = field(default_factory=dict)
    missing: dict[str, Component] = field(default_factory=dict)

    def note(self, component: Component, *, there: bool) -> None:
        """That it was asked for, and whether it was there."""
        key = f"{component.wanted_name} {component.platform}"
        self.components[key] = component
        if not there:
            self.missing[key] = component


@dataclass(frozen=True)
class AskedBundle(Bundle):
    """`contents` are those that are there. What is in the `catalogue` alone has no bytes, but for manifests, whose text
    decides what else is asked for: those are made by `make`, where it is given. `folder` is for stand-ins."""

    catalogue: Sequence[Component] = ()
    folder: Path = Path()
    make: Make | None = None
    asked: Asked = field(default_factory=Asked)

    def artifacts(self) -> tuple[Artifact, ...]:
        """Those that are there, then the stand-ins."""
        there = super().artifacts()
        known = {(each.name, each.platform) for each in there}
        lacking = (each for each in self.catalogue if each.kind != "image")
        return (*there, *(self._file(each) for each in lacking if (each.name, each.platform) not in known))

    def images(self) -> tuple[Image, ...]:
        """Those that are there, then the stand-ins."""
        there = super().images()
        known = {(each.reference, each.platform) for each in there}
        lacking = (each for each in self.catalogue if each.kind == "image")
        return (
            *there,
            *(_image(each) for each in lacking if (each.wanted_name, each.platform) not in known),
        )

    def artifact(self, name: str, platform: str = DEFAULT_PLATFORM, version: str | None = None) -> Artifact:
        """Raises ProvisionError for what neither the bundle nor the catalogue has."""
        found = super().artifact(name, platform, version)
        there = found in self.contents
        for component in self.catalogue:
            if (component.name, component.platform) == (name, platform):
                self.asked.note(component, there=there)
                if not there and component.kind == "manifest" and self.make is not None:
                    return self.make(name)
        return found

    def image(self, reference: str) -> Image:
        """Raises ProvisionError for what neither the bundle nor the catalogue has."""
        found = super().image(reference)
        for component in self.catalogue:
            if component.wanted_name == reference:
                self.asked.note(component, there=found in self.contents)
        return found

    def _file(self, component: Component) -> Artifact:
        path = self.folder / ("empty.tar" if component.kind == "archive" else "empty")
        if not path.exists():
            _make_empty(path)
        return Artifact(
            component.name, component.version, component.platform, _NO_DIGEST, 0, path, component.title
        )


def _make_empty(path: Path) -> None:
    if path.suffix == ".tar":
        with tarfile.open(path, "w"):
            pass
    else:
        path.touch()


def _image(component: Component) -> Image:
    digest = f"sha256:{_NO_DIGEST}"
    return Image(component.reference, component.tag, digest, b"", "", (), component.platform)


def as_lacking(bundle: Bundle, catalogue: Sequence[Component], folder: Path) -> AskedBundle:
    """The bundle, with the catalogue's stand-ins for what it lacks."""
    return AskedBundle(bundle.path, bundle.digest, bundle.contents, catalogue, folder)


def as_sketch(catalogue: Sequence[Component], folder: Path, make: Make) -> AskedBundle:
    """One that has nothing yet."""
    return AskedBundle(Path("of this release"), f"sha256:{_NO_DIGEST}", (), catalogue, folder, make)
