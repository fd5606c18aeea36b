"""Files that are no images: which part of the catalogue each one is, by what it has, not by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from provisioner.bundle.archive import GzipSink
from provisioner.bundle.catalogue import Component
from provisioner.bundle.ingest import manifests
from provisioner.bundle.ingest.documents import whole
from provisioner.bundle.ingest.goprogram import Program, read_program, version_of
from provisioner.bundle.ingest.limits import shown
from provisioner.bundle.ingest.tree import Tree
from provisioner.bundle.store import CHUNK

_ELF = b"\x7fELF"
_LARGEST_MANIFEST = 32 << 20
# Without these no pod gets a network.
_NEEDED = ("bridge", "host-local", "loopback", "portmap")


@dataclass(frozen=True)
class Part:
    """A component, as `path` has it; `version` "" where the file does not tell it. `images` a manifest asks for."""

    component: Component
    version: str
    path: Path
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unused:
    """What nothing of a bundle is made of, `why`."""

    name: str
    why: str


Found = Part | Unused


def program(path: Path, name: str, components: Sequence[Component]) -> Found:
    """What the program at `path` is, called `name` when it is told of."""
    read = read_program(path)
    if read is None:
        return Unused(name, "is no program for 64-bit machines")
    if not read.package:
        return Unused(name, f"is a program for {read.architecture}, of which Go wrote down no origin")
    component = _component(read, components, "binary")
    if component is None:
        return Unused(name, f"is {shown(read.package)}: nothing of a bundle is made of it")
    if component.architecture != read.architecture:
        return Unused(name, f"is {component.name} for {read.architecture}, not for {component.architecture}")
    version = version_of(read, component)
    if not version:
        return Unused(name, f"is {component.name}, of which no release can be told from it")
    return Part(component, version, path)


def _component(read: Program, components: Sequence[Component], kind: str) -> Component | None:
    fits = [each for each in components if each.kind == kind and read.package in each.module.packages]
    return next((each for each in fits if each.architecture == read.architecture), fits[0] if fits else None)


def programs(
    tree: Tree, packed: tuple[Path, str], workspace: Path, components: Sequence[Component]
) -> list[Found]:
    """What an archive of programs has. `packed` is its file and by what that is compressed."""
    found: list[Found] = []
    plugins: dict[str, Program] = {}
    archives = []
    for number, name in enumerate(sorted(tree.names())):
        head = tree.open(name).read(262)
        if head[:4] == _ELF:
            path = _extracted(tree, name, workspace / f"program-{number}")
            read = read_program(path)
            if read and _component(read, components, "archive"):
                plugins[name] = read
            else:
                found.append(program(path, shown(name), components))
        elif head[257:] == b"ustar":
            archives.append(name)
    if archives:
        some = ", ".join(shown(name) for name in archives[:3])
        found.append(Unused(some, "is an archive within another one: unpack the outer one first"))
    if plugins:
        found.append(_plugins(plugins, packed, workspace, components))
    return found


def _extracted(tree: Tree, name: str, target: Path) -> Path:
    source = tree.open(name)
    with target.open("wb") as file:
        while data := source.read(CHUNK):
            file.write(data)
    return target


def _plugins(
    plugins: dict[str, Program], packed: tuple[Path, str], workspace: Path, components: Sequence[Component]
) -> Found:
    """The archive of CNI plug-ins as a whole, as it is unpacked on hosts."""
    name = "the CNI plug-ins"
    missing = [each for each in _NEEDED if each not in plugins]
    if missing:
        return Unused(name, f"are no archive of their own: {', '.join(missing)} is not at its top")
    read = plugins[_NEEDED[0]]
    component = _component(read, components, "archive")
    if component is None or any(each.architecture != component.architecture for each in plugins.values()):
        return Unused(name, f"are for {read.architecture}")
    versions = {version_of(plugins[each], component) for each in _NEEDED}
    if versions == {""} or len(versions) > 1:
        return Unused(name, "tell no release, or several")
    return Part(component, versions.pop(), _gzipped(packed, workspace / "plug-ins"))


def _gzipped(packed: tuple[Path, str], target: Path) -> Path:
    """Hosts need no more than gzip: what is compressed otherwise is compressed anew."""
    path, form = packed
    if form == "gzip":
        return path
    with path.open("rb") as plain, target.open("wb") as file:
        sink = GzipSink(file)
        while data := plain.read(CHUNK):
            sink.write(data)
        sink.finish()
    return target


def text(path: Path, name: str, components: Sequence[Component]) -> Found:
    """What a file is that is neither a program nor an archive."""
    if path.stat().st_size > _LARGEST_MANIFEST:
        return Unused(name, "is no archive, program or manifest that is known")
    with path.open("rb") as file:
        data = whole(file, name, _LARGEST_MANIFEST)
    if data.startswith(b"!<arch>\ndebian-binary"):
        return Unused(name, "is a package of Debian; those come from its archive, with all that they need")
    try:
        data.decode()
        known = None if b"\0" in data else manifests.recognize(data)
    except UnicodeDecodeError:
        known = None
    except ValueError as error:
        return Unused(name, f"is no YAML that can be read ({shown(str(error))})")
    if known is None:
        return Unused(name, "is no archive, program or manifest that is known")
    component = next((each for each in components if each.name == known.component), None)
    if component is None:
        return Unused(
            name, f"is a manifest ({shown(', '.join(known.kinds))[:100]}), none of those that bundles have"
        )
    without = {each.rpartition(":")[0] for each in component.without}
    images = tuple(each for each in known.images if each.rpartition(":")[0] not in without)
    return Part(component, known.version, path, images)
