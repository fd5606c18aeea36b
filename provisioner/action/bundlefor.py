"""What an inventory asks of a bundle: its stages are compiled for hosts that nobody has seen, and what they name is
kept. So a bundle is made of that and nothing else, and another one is held against it, without a host.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

from provisioner.action.load import Loaded, Request, load
from provisioner.action.ospackages import asked_of
from provisioner.action.prepare import compile_with
from provisioner.bundle import build as building
from provisioner.bundle import catalogue
from provisioner.bundle.asked import AskedBundle, as_lacking, as_sketch
from provisioner.bundle.catalogue import Component, Distribution
from provisioner.bundle.layout import Artifact, Bundle
from provisioner.engine.events import Emit, Note
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.playbook.facts import Facts
from provisioner.playbook.factsfile import read_facts

MEMORY = 8 << 30
"""Of a host that nobody has seen, in bytes."""


@dataclass(frozen=True)
class Site:
    """The hosts that are to be installed: by `facts` that were saved from them (`render --save-facts`), else each with
    one of the `systems` (as debian-12), which are the catalogue's."""

    inventory: Path
    facts: Path | None = None
    systems: tuple[str, ...] = ()

    def variants(self, hosts: Sequence[str]) -> Iterator[Mapping[str, Facts]]:
        """Facts of the hosts, once for each system. Raises InputError."""
        if self.facts is not None:
            yield read_facts(self.facts, hosts)
            return
        for system in self.systems or (_known_systems()[0],):
            yield {host: _unseen(system, host) for host in hosts}


def check_systems(systems: Sequence[str]) -> None:
    """Raises InputError for those of which the catalogue has no packages."""
    catalogue.check_known("--os", systems, _known_systems(), "no packages of '{}' are known")


@dataclass(frozen=True)
class Wanted:
    """The catalogue's components that the stages name, and the packages of systems that hosts are asked for."""

    components: tuple[Component, ...]
    packages: tuple[Distribution, ...]


def build_for(
    site: Site, *, source: str, output: Path | None, emit: Emit, files: Sequence[Path] = ()
) -> Bundle:
    """A bundle of what the inventory asks for, of `files` where they have it.

    Raises as `build.build`; InputError for the inventory."""
    check_systems(site.systems)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made: dict[str, Artifact] = {}

        def make(component: str) -> Artifact:
            if component not in made:
                part = building.build(
                    components=[component],
                    source=source,
                    output=folder / component,
                    emit=emit,
                    files=files,
                )
                made[component] = part.artifact(component)
            return made[component]

        wanted = _wanted(site, as_sketch(catalogue.load(), folder, make), emit)
    said = f"{site.inventory} asks for {_counted(wanted)}"
    emit(Note(message=said))
    return building.build_chosen(
        [*wanted.components, *wanted.packages], source=source, output=output, emit=emit, files=files
    )


def prove_complete_for(site: Site, bundle: Bundle, emit: Emit) -> None:
    """Raises ProvisionError with all that the bundle lacks for the inventory, as `missing_for`."""
    lines = missing_for(site, bundle, emit)
    if lines:
        said = "\n".join([f"it lacks, for {site.inventory}:", *lines])
        raise ProvisionError(
            f"{bundle.path}: {said}",
            f"`provision bundle build --for {site.inventory}` makes one that has all of it",
        )
    emit(Note(message=f"{bundle.path} has all that {site.inventory} asks for"))


def missing_for(site: Site, bundle: Bundle, emit: Emit) -> list[str]:
    """What the inventory asks for and the bundle lacks, each with where it would come from. Raises InputError for the
    inventory."""
    check_systems(site.systems)
    with tempfile.TemporaryDirectory() as name:
        held = as_lacking(bundle, catalogue.load(), Path(name))
        try:
            packages = _wanted(site, held, emit).packages
        except ProvisionError:
            if all(each.kind != "manifest" for each in held.asked.missing.values()):
                raise
            packages = ()  # the text that is not there decides what else is asked for
    lines = [_missing(each) for each in held.asked.missing.values()]
    for system in packages:
        there = bundle.packages(system.name, system.platform)
        lacking = there.missing(system.packages) if there else system.packages
        lines += [f"package {each} of {system.name}, from its archive ({system.suite})" for each in lacking]
    return lines


def _missing(component: Component) -> str:
    further = ", and all that it asks for" if component.kind == "manifest" else ""
    return f"{component.wanted_name} ({component.platform}), from {_origin(component)}{further}"


def _wanted(site: Site, bundle: AskedBundle, emit: Emit) -> Wanted:
    loaded = load(Request(site.inventory), emit, bundle)
    if loaded.spec is None or loaded.spec.existing is not None:
        place = loaded.inventory.origin(None, "cluster", "existing", key=True)
        reason = "existing: what a cluster of others needs is known once its hosts have been read"
        raise InputError([Problem(*place, reason, "build a whole bundle, without --for")])
    packages: dict[str, Distribution] = {}
    for facts in site.variants(loaded.hosts):
        compile_with(loaded, facts, emit, for_show=True)
        for each in _packages(loaded, facts):
            packages[each.name] = _joined(packages.get(each.name), each)
    return Wanted(tuple(bundle.asked.components.values()), tuple(packages.values()))


def _packages(loaded: Loaded, facts: Mapping[str, Facts]) -> Iterator[Distribution]:
    """What each host is asked for, of the systems that the catalogue has; others get theirs from their own sources."""
    if loaded.spec is None:
        return
    systems = {(each.name, each.platform): each for each in catalogue.distributions()}
    for host, patterns in asked_of(loaded.inventory, loaded.spec).items():
        own = facts[host]
        name = f"{own.os_id}-{own.os_version}"
        names = next((each for pattern, each in patterns.items() if fnmatch(name, pattern)), ())
        if (name, own.platform) in systems:
            yield replace(systems[name, own.platform], packages=tuple(names))


def _joined(one: Distribution | None, other: Distribution) -> Distribution:
    before = one.packages if one else ()
    return replace(other, packages=tuple(dict.fromkeys([*before, *other.packages])))


def _counted(wanted: Wanted) -> str:
    images = sum(each.kind == "image" for each in wanted.components)
    files = len(wanted.components) - images
    packages = ", ".join(f"{len(each.packages)} packages of {each.name}" for each in wanted.packages)
    return f"{files} files, {images} images{f', {packages}' if packages else ''}"


def _origin(component: Component) -> str:
    if component.kind == "image" and not component.own:
        return component.wanted_name.partition("/")[0]
    if component.release is not None:
        return component.release.url
    return component.module.path or "this tool"


def _known_systems() -> list[str]:
    return [each.name for each in catalogue.distributions()]


def _unseen(system: str, host: str) -> Facts:
    """A host with nothing on it."""
    os_id, _, release = system.partition("-")
    return Facts(
        architecture="amd64",
        kernel="6.1.0",
        hostname=host,
        os_id=os_id,
        os_version=release,
        clock_skew=0.0,
        swap=False,
        memory=MEMORY,
        addresses={},
        default_link="eth0",
        cpus=2,
    )
