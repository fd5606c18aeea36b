"""What an inventory asks of a bundle: its stages are compiled for hosts that nobody has seen, and what they name is
kept. So a bundle is made of that and nothing else, and another one is held against it, without a host.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import platformdirs

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

    @property
    def words(self) -> str:
        """As the command line names it."""
        facts = ("--facts", str(self.facts)) if self.facts else ()
        systems = (word for each in self.systems for word in ("--os", each))
        return shlex.join(["--for", str(self.inventory), *facts, *systems])

    def tell(self, emit: Emit) -> None:
        """What is taken for granted."""
        if self.facts is None and not self.systems:
            told = f"hosts are taken to be {_known_systems()[0]} on amd64"
            emit(Note(message=told, hint="--os or --facts say otherwise"))


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
    site.tell(emit)
    # Beside the build cache: what files bring is linked there, not copied.
    cache = platformdirs.user_cache_path("provision", ensure_exists=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="asked-") as name:
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
    site.tell(emit)
    lines = missing_for(site, bundle, emit)
    if lines:
        said = "\n".join([f"it lacks, for {site.inventory}:", *lines])
        raise ProvisionError(
            f"{bundle.path}: {said}",
            f"`provision bundle build {site.words}` makes one that has all of it",
        )


def missing_for(site: Site, bundle: Bundle, emit: Emit) -> list[str]:
    """What the inventory asks for and the bundle lacks, each with where it would come from. Raises InputError for the
    inventory."""
    check_systems(site.systems)
    with tempfile.TemporaryDirectory() as name:
        held = as_lacking(bundle, catalogue.load(), Path(name))
        loaded = _loaded(site, held, emit)
        try:
            _compile(site, loaded, emit)
        except ProvisionError:
            if all(each.kind != "manifest" for each in held.asked.missing.values()):
                raise  # else the text that is not there decides what is asked for
    there = {each.reference for each in bundle.images()}
    lines = [_missing(each, there) for each in held.asked.missing.values()]
    for system in _packages(site, loaded, emit):
        packages = bundle.packages(system.name, system.platform)
        lacking = packages.missing(system.packages) if packages else system.packages
        lines += [f"package {each} of {system.name}, from its archive ({system.suite})" for each in lacking]
    return lines


def _missing(component: Component, there: Collection[str]) -> str:
    """A manifest's text decides which of its publisher's images are asked for, too."""
    line = f"{component.wanted_name} ({component.platform}), from {_origin(component)}"
    images = [
        each.wanted_name
        for each in catalogue.load()
        if each.kind == "image" and each.homepage == component.homepage and each.wanted_name not in there
    ]
    if component.kind != "manifest" or not images:
        return line
    return f"{line}, and of its images those that it asks for: {', '.join(images)}"


def _wanted(site: Site, bundle: AskedBundle, emit: Emit) -> Wanted:
    loaded = _loaded(site, bundle, emit)
    _compile(site, loaded, emit)
    return Wanted(tuple(bundle.asked.components.values()), _packages(site, loaded, emit))


def _loaded(site: Site, bundle: AskedBundle, emit: Emit) -> Loaded:
    loaded = load(Request(site.inventory), emit, bundle)
    if loaded.spec is None or loaded.spec.existing is not None:
        place = loaded.inventory.origin(None, "cluster", "existing", key=True)
        reason = "existing: what a cluster of others needs is known once its hosts have been read"
        raise InputError([Problem(*place, reason, "build a whole bundle, without --for")])
    return loaded


def _compile(site: Site, loaded: Loaded, emit: Emit) -> None:
    for facts in site.variants(loaded.hosts):
        compile_with(loaded, facts, emit, for_show=True)


def _packages(site: Site, loaded: Loaded, emit: Emit) -> tuple[Distribution, ...]:
    """What hosts are asked for, of the systems that the catalogue has; others get theirs from their own sources, which
    is told."""
    found: dict[str, Distribution] = {}
    for facts in site.variants(loaded.hosts):
        for each in _of_hosts(loaded, facts, emit):
            found[each.name] = _joined(found.get(each.name), each)
    return tuple(found.values())


def _of_hosts(loaded: Loaded, facts: Mapping[str, Facts], emit: Emit) -> Iterator[Distribution]:
    if loaded.spec is None:
        return
    systems = {(each.name, each.platform): each for each in catalogue.distributions()}
    for host, patterns in asked_of(loaded.inventory, loaded.spec).items():
        own = facts[host]
        name = f"{own.os_id}-{own.os_version}"
        names = next((each for pattern, each in patterns.items() if fnmatch(name, pattern)), ())
        if (name, own.platform) in systems:
            yield replace(systems[name, own.platform], packages=tuple(names))
        else:
            told = f"{host}: no bundle has packages of {name} on {own.platform}: {', '.join(names) or 'those it needs'}"
            emit(
                Note(level="warning", message=told, hint="the host has to reach its own sources of packages")
            )


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
